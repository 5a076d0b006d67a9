// Light, dark, or what the system says; the choice is kept in this browser.

const CHOICES = ["", "light", "dark"];
const WORDS = { "": "Theme", light: "Light", dark: "Dark" };

export function startTheme(document) {
  const root = document.documentElement;
  const button = document.querySelector("[data-do=theme]");

  function show() {
    button.textContent = WORDS[root.dataset.theme ?? ""];
  }

  function next() {
    const choice = CHOICES[(CHOICES.indexOf(root.dataset.theme ?? "") + 1) % CHOICES.length];
    if (choice) root.dataset.theme = choice;
    else delete root.dataset.theme;
    try {
      localStorage.setItem("theme", choice);
    } catch {
      // It holds for this page then.
    }
    show();
    document.dispatchEvent(new CustomEvent("penstock:theme"));
  }

  button.addEventListener("click", next);
  show();
  return { next };
}
