"""The files that go into the demo's archives; they run in the inference process, as any model's files do."""
