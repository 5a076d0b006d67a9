// Fetches the page anew every few seconds and changes what has changed: the server draws, nothing is drawn twice.

const LATE_S = 15;

// What the reader did to the page stays: what is open, selected, drawn by a script, or filled in and not sent yet.
const callbacks = {
  beforeNodeMorphed: (before) => !(before.nodeType === Node.ELEMENT_NODE && before.matches("[data-plot], #marks, form")),
  beforeAttributeUpdated: (name, node) => !(name === "open" && node.tagName === "DETAILS"),
};

export function startLive(document) {
  const shown = document.getElementById("live");
  const offline = document.getElementById("offline");
  const state = { isHeld: false, isBusy: false, heardMs: Date.now(), nextMs: 0 };

  const main = () => document.getElementById("main");
  const everyMs = () => 1000 * Number(main().dataset.refreshS);

  function show(word) {
    if (everyMs() === 0 && !state.isHeld) delete shown.dataset.state;
    else shown.dataset.state = word;
  }

  function replace(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    const selected = document.querySelector(".is-selected")?.id;
    const next = fresh.getElementById("main");
    if (window.Idiomorph) window.Idiomorph.morph(main(), next, { callbacks });
    else if (!main().contains(document.activeElement)) main().replaceWith(document.adoptNode(next));
    if (selected) document.getElementById(selected)?.classList.add("is-selected");
    document.title = fresh.title;
    const told = fresh.getElementById("live");
    shown.textContent = told.textContent;
    shown.toggleAttribute("data-stale", told.hasAttribute("data-stale"));
    document.dispatchEvent(new CustomEvent("penstock:refreshed"));
  }

  async function refresh() {
    state.isBusy = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, signal: AbortSignal.timeout(10_000) });
      // Whose session is over logs in again, and comes back to this page.
      if (answer.redirected && new URL(answer.url).pathname === "/login") return location.assign(answer.url);
      // What is not a page any more, such as a sign-in, is nothing to put into this one.
      if (!answer.headers.get("content-type")?.startsWith("text/html")) throw new Error(`${answer.status}`);
      replace(await answer.text());
      state.heardMs = Date.now();
      offline.hidden = true;
      show("live");
    } catch {
      show("lost");
      const age = Math.round((Date.now() - state.heardMs) / 1000);
      offline.textContent = `The hub does not answer. What is shown is ${age} s old.`;
      offline.hidden = age < LATE_S;
    } finally {
      state.isBusy = false;
      state.nextMs = Date.now() + everyMs();
    }
  }

  // A page that nobody sees, or whose text is being marked, stands still.
  const isDue = () =>
    !state.isHeld && !state.isBusy && !document.hidden && everyMs() > 0 && Date.now() >= state.nextMs &&
    document.getSelection().isCollapsed && !document.querySelector("[data-brushing]");

  state.nextMs = Date.now() + everyMs();
  show("live");
  setInterval(() => isDue() && refresh(), 250);

  return {
    hold() {
      state.isHeld = !state.isHeld;
      show(state.isHeld ? "held" : "live");
    },
  };
}
