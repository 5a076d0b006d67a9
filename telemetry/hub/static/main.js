// Starts what makes the pages live; without it they are whole, but stand still.
import { startCharts } from "./charts.js";
import { startKeys } from "./keys.js";
import { startLive } from "./live.js";
import { startBrush } from "./brush.js";
import { startTheme } from "./theme_choice.js";

const live = startLive(document);
const theme = startTheme(document);
const charts = startCharts(document);
document.addEventListener("penstock:refreshed", charts.refresh);
document.addEventListener("penstock:theme", charts.redraw);
startKeys(document, { holdStill: live.hold, nextTheme: theme.next });
startBrush(document);

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  // Browsers let only pages from https or loopback write to the clipboard; elsewhere the text is marked, to be copied by hand.
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  } else {
    document.getSelection().selectAllChildren(button.parentElement.querySelector("code"));
  }
});
