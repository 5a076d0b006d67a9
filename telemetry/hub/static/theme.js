// Runs before the page is drawn, so that it never flashes in the wrong colours.
(() => {
  const root = document.documentElement;
  root.classList.add("has-script");
  // Says no more than that there is something to log out of.
  if (document.cookie.includes("penstock-hub-session=1")) root.classList.add("has-login");
  let theme = null;
  try {
    theme = localStorage.getItem("theme");
  } catch {
    // A browser that keeps nothing shows what the system says.
  }
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
})();
