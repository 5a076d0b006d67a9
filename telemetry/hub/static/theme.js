// Runs before the page is drawn, so that it never flashes in the wrong colours.
(() => {
  const root = document.documentElement;
  root.classList.add("has-script");
  let theme = null;
  try {
    theme = localStorage.getItem("theme");
  } catch {
    // A browser that keeps nothing shows what the system says.
  }
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
})();
