// A piece of the plot of traces, marked with the pointer, becomes filters of the URL.

const SMALLEST_PX = 6;

export function startBrush(document) {
  let from = null;

  const place = (plot, event) => {
    const box = plot.getBoundingClientRect();
    const within = (at, length) => Math.min(length, Math.max(0, at));
    return { x: within(event.clientX - box.left, box.width), y: within(event.clientY - box.top, box.height), box };
  };

  function draw(plot, a, b) {
    const marked = plot.querySelector("[data-brushed]");
    marked.setAttribute("x", Math.min(a.x, b.x));
    marked.setAttribute("y", Math.min(a.y, b.y));
    marked.setAttribute("width", Math.abs(a.x - b.x));
    marked.setAttribute("height", Math.abs(a.y - b.y));
  }

  function clear(plot) {
    draw(plot, { x: 0, y: 0 }, { x: 0, y: 0 });
    delete plot.dataset.brushing;
    from = null;
  }

  function look(plot, a, b) {
    const { fromS, toS, lowMs, highMs } = plot.dataset;
    const at = (x) => Number(fromS) + (x / a.box.width) * (toS - fromS);
    const ms = (y) => lowMs * (highMs / lowMs) ** (1 - y / a.box.height);
    const url = new URL(location.href);
    for (const gone of ["last", "cursor"]) url.searchParams.delete(gone);
    url.searchParams.set("since", at(Math.min(a.x, b.x)).toFixed(3));
    url.searchParams.set("until", at(Math.max(a.x, b.x)).toFixed(3));
    if (Math.abs(a.y - b.y) >= SMALLEST_PX) {
      url.searchParams.set("min_ms", ms(Math.max(a.y, b.y)).toPrecision(3));
      url.searchParams.set("max_ms", ms(Math.min(a.y, b.y)).toPrecision(3));
    }
    location.assign(url);
  }

  document.addEventListener("pointerdown", (event) => {
    const plot = event.target.closest("[data-brush]");
    if (!plot || event.button !== 0 || event.target.closest("a")) return;
    event.preventDefault();
    plot.setPointerCapture(event.pointerId);
    plot.dataset.brushing = "";
    from = { plot, ...place(plot, event) };
  });
  document.addEventListener("pointermove", (event) => {
    if (from) draw(from.plot, from, place(from.plot, event));
  });
  document.addEventListener("pointerup", (event) => {
    if (!from) return;
    const [start, end] = [from, place(from.plot, event)];
    clear(start.plot);
    if (Math.abs(start.x - end.x) >= SMALLEST_PX) look(start.plot, start, end);
  });
  document.addEventListener("pointercancel", () => from && clear(from.plot));
}
