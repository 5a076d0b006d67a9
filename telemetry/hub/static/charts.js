// Draws an objective's past: budget, burn rates with the alerts' factors, good and bad requests.

const HEIGHT_PX = 220;
const EVERY_MS = 10_000;
const WINDOW_COLOURS = ["--stage-handler", "--stage-queue", "--stage-postprocess", "--stage-preprocess", "--stage-answer", "--stage-lost-attempt", "--stage-inference", "--stage-gateway"];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const DAY_S = 86400;
const UNITS = [[DAY_S, "d"], [3600, "h"], [60, "m"]];

function windowText(seconds) {
  const unit = UNITS.find(([length]) => seconds >= length && seconds % length === 0);
  return unit ? `${seconds / unit[0]}${unit[1]}` : `${seconds}s`;
}

const percent = (ratio) => (ratio === null || ratio === undefined ? "–" : `${(ratio * 100).toFixed(1)} %`);
const times = (rate) => (rate === null || rate === undefined ? "–" : `${rate.toFixed(2)}×`);
const count = (number) => (number === null || number === undefined ? "–" : `${number}`);

// Moments are UTC here, as on the rest of the page.
const iso = (at) => new Date(at * 1000).toISOString();

function momentsText(_, splits) {
  const isByDay = splits.length > 1 && splits[1] - splits[0] >= DAY_S;
  return splits.map((at) => (isByDay ? iso(at).slice(5, 10) : iso(at).slice(11, 16)));
}

function axes(text) {
  const look = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
  return [{ ...look, values: momentsText }, { ...look, size: 64, values: (_, splits) => splits.map(text) }];
}

function dashed(factors) {
  return (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.setLineDash([6, 5]);
    ctx.strokeStyle = colour("--bad");
    ctx.fillStyle = colour("--bad");
    ctx.textAlign = "right";
    ctx.textBaseline = "bottom";
    ctx.font = `${11 * devicePixelRatio}px system-ui`;
    for (const [name, factor] of Object.entries(factors)) {
      const y = plot.valToPos(factor, "y", true);
      if (y < bbox.top || y > bbox.top + bbox.height) continue;
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      ctx.fillText(name, bbox.left + bbox.width - 4, y - 4);
    }
    ctx.restore();
  };
}

const line = (label, name, text, more = {}) => ({
  label, stroke: colour(name), width: 2, points: { show: false }, value: (_, held) => text(held), ...more,
});

// Each kind of plot: what it takes of the points, and how it is drawn.
const PLOTS = {
  budget: (points) => ({
    data: [points.map((point) => point.remaining_ratio)],
    series: [line("left", "--stage-inference", percent, { fill: `${colour("--stage-inference")}22` })],
    axes: axes(percent),
    range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(1, high ?? 1)],
  }),
  burn: (points, factors) => {
    const windows = Object.keys(points.at(-1).burn).sort((a, b) => a - b);
    const least = Math.min(...Object.values(factors), Infinity);
    return {
      data: windows.map((window) => points.map((point) => point.burn[window] ?? null)),
      series: windows.map((window, index) => line(windowText(Number(window)), WINDOW_COLOURS[index % WINDOW_COLOURS.length], times)),
      axes: axes((rate) => `${rate}×`),
      // The lowest factor is always in sight; the others come into it as the rates near them.
      range: (_, __, high) => [0, Math.max(high ?? 0, Number.isFinite(least) ? least : 1) * 1.15],
      hooks: { draw: [dashed(factors)] },
    };
  },
  good: (points) => events(points, "good", "--stage-inference"),
  bad: (points) => events(points, "bad", "--stage-lost-attempt"),
};

function events(points, kind, name) {
  const bars = { paths: uPlot.paths.bars({ size: [0.9, 40] }), fill: `${colour(name)}99`, width: 0 };
  return {
    data: [points.map((point) => point[kind])],
    series: [line(kind, name, count, bars)],
    axes: axes((number) => (Number.isInteger(number) ? `${number}` : "")),
    range: (_, __, high) => [0, Math.max(1, high ?? 1) * 1.05],
  };
}

function draw(element, made, moments) {
  const options = {
    width: element.clientWidth, height: HEIGHT_PX,
    cursor: { sync: { key: "objective" } },
    tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
    scales: { y: { range: made.range } },
    series: [{ value: (_, at) => (at === null ? "–" : `${iso(at).slice(0, 19).replace("T", " ")} UTC`) }, ...made.series],
    axes: made.axes,
    hooks: made.hooks ?? {},
  };
  element.replaceChildren();
  return new uPlot(options, [moments, ...made.data], element);
}

function say(element, sentence) {
  const paragraph = document.createElement("p");
  paragraph.className = "dim";
  paragraph.textContent = sentence;
  element.replaceChildren(paragraph);
}

export function startCharts(document) {
  const drawn = new Map();
  let known = null;
  let askedMs = 0;

  const charts = () => (window.uPlot ? document.querySelector("[data-charts]") : null);

  function redraw() {
    if (!charts() || !known) return;
    const points = known.points ?? [];
    const factors = JSON.parse(charts().dataset.factors);
    for (const element of charts().querySelectorAll("[data-plot]")) {
      drawn.get(element)?.destroy();
      drawn.delete(element);
      if (points.length < 2) {
        say(element, known.error || "Nothing happened in this time yet. Send a request, and wait for the next slot of ten seconds.");
        continue;
      }
      drawn.set(element, draw(element, PLOTS[element.dataset.plot](points, factors), points.map((point) => point.start_s)));
    }
  }

  async function refresh() {
    const at = charts();
    if (!at || Date.now() - askedMs < EVERY_MS) return;
    askedMs = Date.now();
    try {
      const answer = await fetch(at.dataset.url, { signal: AbortSignal.timeout(10_000) });
      const fresh = await answer.json();
      // What was drawn stays when there is nothing newer; the page itself says that it is old.
      if (fresh.points?.length || !known) known = fresh;
    } catch {
      known ??= { error: "The past cannot be read now.", points: [] };
    }
    redraw();
  }

  let resized = 0;
  addEventListener("resize", () => {
    clearTimeout(resized);
    resized = setTimeout(redraw, 150);
  });
  refresh();
  return { refresh, redraw };
}
