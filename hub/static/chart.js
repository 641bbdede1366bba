// Charts as SVG: one sensor a chart, all pins as lanes below, one time axis. Looks come from console.css, so light and
// dark need nothing here. A line ends where its last reading is; nothing is drawn up to "now" that was not measured.

const NS = "http://www.w3.org/2000/svg";
const LEFT = 38, RIGHT = 8, TOP = 8, BOTTOM = 18, LANE = 27;
const TIME_STEPS_S = [15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200];

const add = (parent, name, attributes, text) => {
  const node = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
};

export const clock = (t, seconds = true) =>
  new Date(t * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: seconds ? "2-digit" : undefined, hour12: false });

// Round numbers that hold the values, about `parts` steps of them.
function scale(low, high, parts) {
  if (high - low < 1e-9) { low -= 1; high += 1; }
  const rough = (high - low) / parts;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((one) => one >= rough * 0.999);
  const first = Math.floor(low / step + 1e-9), last = Math.ceil(high / step - 1e-9);
  const ticks = [];
  for (let index = first; index <= last; index++) ticks.push(Number((index * step).toPrecision(6)));
  return ticks;
}

function axis(svg, width, now, span, height) {
  const step = TIME_STEPS_S.find((one) => (one / span) * width >= (one < 60 ? 74 : 56)) ?? 86400;
  const shift = new Date(now * 1000).getTimezoneOffset() * 60;
  for (let t = Math.ceil((now - span - shift) / step) * step + shift; t <= now; t += step) {
    const x = LEFT + ((t - now + span) / span) * (width - LEFT - RIGHT);
    add(svg, "line", { class: "grid", x1: x, x2: x, y1: TOP, y2: height - BOTTOM });
    if (x > LEFT + 14 && x < width - 20) add(svg, "text", { class: "tick", x, y: height - 4, "text-anchor": "middle" }, clock(t, step < 60));
  }
}

export class Chart {
  // `points` is [[t_s, value], ...], oldest first.
  constructor(name, unit) {
    this.name = name;
    this.unit = unit;
    this.points = [];
    this.figure = document.createElement("figure");
    this.figure.className = "chart";
    const caption = document.createElement("figcaption");
    this.value = Object.assign(document.createElement("span"), { className: "value" });
    const title = document.createElement("h3");
    title.append(Object.assign(document.createElement("span"), { className: "quiet", textContent: name.split("/")[0] + "/" }), name.split("/")[1]);
    this.spread = Object.assign(document.createElement("span"), { className: "quiet" });
    caption.append(title, Object.assign(document.createElement("span"), { className: "grow" }), this.value,
      Object.assign(document.createElement("span"), { className: "unit", textContent: unit }));
    this.svg = add(this.figure, "svg", { role: "img" });
    this.figure.prepend(caption);
    this.svg.addEventListener("pointermove", (event) => { this.pointer = event.offsetX; this.redraw(); });
    this.svg.addEventListener("pointerleave", () => { this.pointer = undefined; this.redraw(); });
  }

  push(t, value) {
    const last = this.points.at(-1);
    if (!last || t > last[0]) this.points.push([t, value]);
  }

  redraw() { if (this.drawn) this.draw(...this.drawn); }

  // `height` in pixels: lower when there are many.
  draw(now, span, height) {
    this.drawn = [now, span, height];
    this.svg.setAttribute("height", height);
    const width = this.svg.clientWidth;
    if (!width) return;
    while (this.points.length > 1 && this.points[1][0] < now - span) this.points.shift();
    const points = this.points, bottom = height - BOTTOM;
    this.svg.replaceChildren();
    axis(this.svg, width, now, span, height);
    if (!points.length) {
      this.svg.setAttribute("aria-label", `${this.name}: no readings in this time`);
      add(this.svg, "text", { class: "tick", x: LEFT + 8, y: height / 2 }, "no readings in this time");
      return;
    }
    let low = Infinity, high = -Infinity;
    for (const [, value] of points) { if (value < low) low = value; if (value > high) high = value; }
    const ticks = scale(low, high, height > 120 ? 4 : 2);
    const x = (t) => LEFT + ((t - now + span) / span) * (width - LEFT - RIGHT);
    const y = (value) => bottom - ((value - ticks[0]) / (ticks.at(-1) - ticks[0])) * (bottom - TOP);
    for (const tick of ticks) {
      add(this.svg, "line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: Math.round(y(tick)), y2: Math.round(y(tick)) });
      add(this.svg, "text", { class: "tick", x: LEFT - 7, y: y(tick) + 4, "text-anchor": "end" }, String(tick).replace("-", "−"));
    }
    for (const run of runs(thin(points, span / (width - LEFT - RIGHT)), span)) {
      const path = run.map(([t, value], index) => `${index ? "L" : "M"}${Math.max(LEFT, x(t)).toFixed(1)} ${y(value).toFixed(1)}`).join("");
      const from = Math.max(LEFT, x(run[0][0])).toFixed(1), to = x(run.at(-1)[0]).toFixed(1);
      add(this.svg, "path", { class: "area", d: `${path}L${to} ${bottom}L${from} ${bottom}Z` });
      add(this.svg, "path", { class: "line", d: path });
    }
    const [t, value] = points.at(-1);
    add(this.svg, "circle", { class: "tip", cx: x(t), cy: y(value), r: 3 });
    this.svg.setAttribute("aria-label", `${this.name}: lowest ${low}, highest ${high}, last ${value} ${this.unit} at ${clock(t)}`);
    if (this.pointer !== undefined) this.cross(x, y, width, bottom);
  }

  cross(x, y, width, bottom) {
    const near = this.points.reduce((best, point) => (Math.abs(x(point[0]) - this.pointer) < Math.abs(x(best[0]) - this.pointer) ? point : best));
    const at = x(near[0]), right = at > width / 2;
    add(this.svg, "line", { class: "cross", x1: at, x2: at, y1: TOP, y2: bottom });
    add(this.svg, "circle", { class: "mark", cx: at, cy: y(near[1]), r: 4 });
    add(this.svg, "text", { class: "tick tipped", x: at + (right ? -8 : 8), y: TOP + 8, "text-anchor": right ? "end" : "start" },
      `${Number(near[1].toPrecision(5))} ${this.unit} at ${clock(near[0])}`);
  }
}

// Readings of one pixel column become its lowest and highest: the line looks the same and costs little.
function thin(points, pixel_s) {
  if (points.length < 3 || (points.at(-1)[0] - points[0][0]) / points.length > pixel_s / 2) return points;
  const kept = [];
  for (let from = 0; from < points.length; ) {
    let to = from, low = from, high = from;
    while (to < points.length && Math.floor(points[to][0] / pixel_s) === Math.floor(points[from][0] / pixel_s)) {
      if (points[to][1] < points[low][1]) low = to;
      if (points[to][1] > points[high][1]) high = to;
      to++;
    }
    kept.push(points[Math.min(low, high)]);
    if (low !== high) kept.push(points[Math.max(low, high)]);
    from = to;
  }
  return kept;
}

// Where readings stayed away for long the line is broken, not drawn across.
function runs(points, span) {
  const pauses = points.slice(1).map((point, index) => point[0] - points[index][0]).sort((a, b) => a - b);
  const longest = Math.max(4 * (pauses[Math.floor(pauses.length / 2)] ?? 0), span / 60);
  const found = [[points[0]]];
  points.slice(1).forEach((point, index) => {
    if (point[0] - points[index][0] > longest) found.push([]);
    found.at(-1).push(point);
  });
  return found;
}

// `lanes` is [{name, states: [[t_s, value], ...], until}], `until` where what is known of a pin ends.
export function drawLanes(svg, lanes, now, span) {
  const width = svg.clientWidth, height = TOP + lanes.length * LANE + BOTTOM;
  if (!width) return;
  svg.setAttribute("height", height);
  svg.replaceChildren();
  axis(svg, width, now, span, height);
  const x = (t) => Math.max(LEFT, LEFT + ((t - now + span) / span) * (width - LEFT - RIGHT));
  lanes.forEach(({ name, states, until }, index) => {
    const top = TOP + index * LANE;
    add(svg, "text", { class: "tick", x: LEFT, y: top + 10 }, name);
    states.forEach(([t, value], at) => {
      const from = x(t), to = x(Math.min(states[at + 1]?.[0] ?? Infinity, until ?? now));
      if (to > from) add(svg, "rect", { class: value ? "lane-on" : "lane", x: from, y: top + (value ? 14 : 17), width: Math.max(1, to - from), height: value ? 8 : 2, rx: value ? 2 : 0 });
    });
  });
  svg.setAttribute("aria-label", "When each pin was on: " + lanes.map(({ name, states }) => `${name} ${states.at(-1)?.[1] ? "on" : "off"}`).join(", "));
}
