// The keyboard: j and k move, Enter opens, / searches, g goes to a page, ? tells all this.

const PAGES = {
  o: "/", e: "/executive", c: "/on-call", q: "/red", n: "/map", s: "/slos", a: "/alerts", t: "/traces",
  r: "/rollouts", h: "/shadows", d: "/drift", m: "/machine", y: "/telemetry",
};
const THEN_MS = 1500;

export function startKeys(document, { holdStill, nextTheme }) {
  const help = document.getElementById("help");
  let wentMs = 0;

  // What is folded away is no line one could move to.
  const rows = () => [...document.querySelectorAll("main [data-row]")].filter((row) => row.checkVisibility());

  function select(row) {
    document.querySelector(".is-selected")?.classList.remove("is-selected");
    row.classList.add("is-selected");
    row.scrollIntoView({ block: "nearest" });
  }

  function move(by) {
    const all = rows();
    if (all.length === 0) return;
    const now = all.findIndex((row) => row.classList.contains("is-selected"));
    select(all[now < 0 ? 0 : Math.min(all.length - 1, Math.max(0, now + by))]);
  }

  function open() {
    const row = document.querySelector(".is-selected");
    if (row?.tagName === "DETAILS") row.open = !row.open;
    else row?.querySelector("a")?.click();
  }

  function find() {
    const field = document.querySelector("#filters input") ?? document.getElementById("find");
    field.focus();
    field.select();
  }

  const acts = {
    j: () => move(1),
    k: () => move(-1),
    "/": find,
    "?": () => help.showModal(),
    p: holdStill,
    t: nextTheme,
    g: () => (wentMs = Date.now()),
  };

  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input, select, textarea");
    if (event.key === "Escape" && isTyping) event.target.blur();
    if (isTyping || help.open || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" && !event.target.closest("a, button, summary")) return open();
    const page = Date.now() - wentMs < THEN_MS ? PAGES[event.key] : undefined;
    wentMs = 0;
    if (page) location.assign(page);
    else if (acts[event.key]) {
      event.preventDefault();
      acts[event.key]();
    }
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-do=help]")) help.showModal();
    const row = event.target.closest("tr[data-row]");
    if (row && !event.target.closest("a") && document.getSelection().isCollapsed) row.querySelector("a").click();
  });
}
