// Draws an objective's past: budget, burn rates against each alert's factor, good and bad events, and what happened meanwhile.

const HEIGHT_PX = 220;
const EVERY_MS = 10_000;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const DAY_S = 86400;
const UNITS = [[DAY_S, "d"], [3600, "h"], [60, "m"]];

function windowText(seconds) {
  const unit = UNITS.find(([length]) => seconds >= length && seconds % length === 0);
  return unit ? `${seconds / unit[0]}${unit[1]}` : `${seconds}s`;
}

const percent = (ratio) => (ratio === null || ratio === undefined ? "–" : `${(ratio * 100).toFixed(Math.abs(ratio) > 1 ? 0 : 1)} %`);
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

// A line across the plot where the alert's factor is, and what stands at it.
function dashed(name, factor) {
  return (plot) => {
    const { ctx, bbox } = plot;
    const y = plot.valToPos(factor, "y", true);
    if (y < bbox.top || y > bbox.top + bbox.height) return;
    ctx.save();
    ctx.setLineDash([6, 5]);
    ctx.strokeStyle = colour("--bad");
    ctx.fillStyle = colour("--bad");
    ctx.textAlign = "right";
    ctx.textBaseline = "bottom";
    ctx.font = `${11 * devicePixelRatio}px system-ui`;
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.fillText(name, bbox.left + bbox.width - 4, y - 4);
    ctx.restore();
  };
}

// When alerts fired and when nobody counted lies behind the curves; what was changed is a line through them.
function behind(over, gaps, name) {
  return (plot) => {
    const { ctx, bbox } = plot;
    const shade = (from, to, ground) => {
      const [left, right] = [from, to].map((at) => Math.min(bbox.left + bbox.width, Math.max(bbox.left, plot.valToPos(at, "x", true))));
      if (right <= left) return;
      ctx.fillStyle = ground;
      ctx.fillRect(left, bbox.top, right - left, bbox.height);
    };
    ctx.save();
    // A page hides a ticket.
    for (const each of over.toSorted((a, b) => (a.severity === "page") - (b.severity === "page"))) {
      if (name && each.name !== name) continue;
      shade(each.from_s, each.to_s ?? Number.MAX_SAFE_INTEGER, colour(each.severity === "page" ? "--bad-ground" : "--low-ground"));
    }
    for (const [from, to] of gaps) shade(from, to, colour("--groove"));
    ctx.restore();
  };
}

function marked(marks) {
  return (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = colour("--link");
    ctx.fillStyle = colour("--link");
    ctx.font = `${11 * devicePixelRatio}px system-ui`;
    ctx.textBaseline = "top";
    ctx.textAlign = "left";
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([2, 3]);
    for (const mark of marks) {
      const x = plot.valToPos(mark.at_s, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.fillText(`${mark.number}`, x + 3, bbox.top + 2);
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
  burn: (points, { name, longS, shortS, factor }) => {
    const limit = Number(factor);
    const rates = [longS, shortS].map((window) => points.map((point) => point.burn[window] ?? null));
    return {
      data: rates,
      series: [line(windowText(Number(longS)), "--stage-handler", times), line(windowText(Number(shortS)), "--stage-queue", times)],
      axes: axes((rate) => `${rate}×`),
      // The factor is always in sight.
      range: (_, __, high) => [0, Math.max(high ?? 0, limit) * 1.15],
      hooks: { draw: [dashed(`${name} ${limit}×`, limit)] },
    };
  },
  good: (points) => events(points, "good", "--stage-inference"),
  bad: (points) => events(points, "bad", "--stage-lost-attempt"),
};

function events(points, kind, name) {
  const bars = { paths: uPlot.paths.bars({ size: [0.9, 40] }), fill: `${colour(name)}99`, width: 0 };
  return {
    data: [points.map((point) => (point.is_known === false ? null : point[kind]))],
    series: [line(kind, name, count, bars)],
    axes: axes((number) => (Number.isInteger(number) ? `${number}` : "")),
    range: (_, __, high) => [0, Math.max(1, high ?? 1) * 1.05],
  };
}

function draw(element, made, moments, around) {
  const hooks = {
    drawClear: [behind(around.over, around.gaps, element.dataset.name)],
    draw: [marked(around.marks), ...(made.hooks?.draw ?? [])],
  };
  const options = {
    width: element.clientWidth, height: HEIGHT_PX,
    cursor: { sync: { key: "objective" } },
    tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
    scales: { y: { range: made.range } },
    series: [{ value: (_, at) => (at === null ? "–" : `${iso(at).slice(0, 19).replace("T", " ")} UTC`) }, ...made.series],
    axes: made.axes,
    hooks,
  };
  element.replaceChildren();
  return new uPlot(options, [moments, ...made.data], element);
}

// The times in which nobody counted, from the points that say so.
function gapsOf(points, stepS) {
  const gaps = [];
  for (const point of points) {
    if (point.is_known !== false) continue;
    if (gaps.at(-1)?.[1] === point.start_s) gaps.at(-1)[1] = point.start_s + stepS;
    else gaps.push([point.start_s, point.start_s + stepS]);
  }
  return gaps;
}

// What was changed in the time shown, numbered as its line in the plots is.
function marksOf(marks, points, stepS) {
  if (points.length < 2) return [];
  const [first, last] = [points[0].start_s, points.at(-1).start_s + stepS];
  return marks.filter((mark) => mark.at_s >= first && mark.at_s <= last).map((mark, index) => ({ ...mark, number: index + 1 }));
}

function listMarks(element, marks) {
  if (!element) return;
  element.replaceChildren(...marks.map((mark) => {
    const item = document.createElement("li");
    item.textContent = `${mark.number} – ${iso(mark.at_s).slice(0, 19).replace("T", " ")} UTC: ${mark.text}`;
    return item;
  }));
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
    const stepS = known.step_s || 0;
    const around = {
      over: JSON.parse(charts().dataset.over || "[]"),
      gaps: gapsOf(points, stepS),
      marks: marksOf(JSON.parse(charts().dataset.marks || "[]"), points, stepS),
    };
    listMarks(document.getElementById("marks"), around.marks);
    for (const element of charts().querySelectorAll("[data-plot]")) {
      drawn.get(element)?.destroy();
      drawn.delete(element);
      if (points.length < 2) {
        say(element, known.error || "Nothing happened in this time yet. Send a request, and wait for the next slot of ten seconds.");
        continue;
      }
      drawn.set(element, draw(element, PLOTS[element.dataset.plot](points, element.dataset), points.map((point) => point.start_s), around));
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
