"""The files that go into the text model's archive, and sentences to send to it."""
