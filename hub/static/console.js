// The console's life: the event stream (or polling), numbers in place, changed parts fetched again, switching pins.
// The server renders everything; this never builds a card by itself.

import { Chart, clock, drawLanes } from "./chart.js";

const $ = (id) => document.getElementById(id);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const SILENT_MS = 8000, LOST_AFTER_MS = 2000, POLL_MS = 2000, SHOWN_AT_FIRST = 4;

// --- time: the hub's clock, whatever this computer's says ---------------------------------------------------------
let ahead_s = Number(document.body.dataset.now) - Date.now() / 1000;
const now = () => Date.now() / 1000 + ahead_s;

function age(seconds) {
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  return `${Math.max(0, Math.floor(seconds))} s`;
}

function left(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  if (whole >= 3600) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };

function times(root = document) {
  const t = lost ? heard_s : now();  // while nothing is heard, ages count from then: they say how old the picture is
  for (const node of all("time.age", root)) put(node, age(now() - node.dataset.t));
  for (const node of all("time.left", root)) put(node, left(node.dataset.t - now()));
  for (const node of all("time.clock", root)) {
    const far = Math.abs(t - node.dataset.t) > 43200;
    put(node, (far ? new Date(node.dataset.t * 1000).toLocaleDateString([], { day: "numeric", month: "short" }) + " " : "") + clock(node.dataset.t));
  }
  for (const node of all(".reading", root)) {
    const away = ["offline", "unseen"].includes(node.closest("[data-status]").dataset.status);
    node.classList.toggle("stale", away || now() - node.dataset.t > node.dataset.stale);
  }
  for (const node of all(".differs[data-since]", root)) node.hidden = now() - node.dataset.since < 1;
}

// --- parts: fetched again when they change, merged so that focus, open details and half-made choices stay ------------
const kind = (node) => node.nodeName + "#" + (node.id ?? "") + "." + (node.classList?.[0] ?? "");

// The node that becomes `node`: the first of its kind from `at` on. What stands before it goes; so a text, of which
// there is always another one, is only looked for at `at`, and nothing that stays is passed over.
function matching(node, at, staying) {
  for (; at; at = at.nextSibling) {
    if (kind(at) === kind(node)) return at;
    if (node.nodeType === Node.TEXT_NODE || staying.has(kind(at))) return null;
  }
  return null;
}

function merge(from, to) {
  if (from.nodeType === Node.TEXT_NODE) { if (from.data !== to.data) from.data = to.data; return; }
  for (const { name, value } of [...to.attributes]) if (from.getAttribute(name) !== value && name !== "hidden") from.setAttribute(name, value);
  for (const { name } of [...from.attributes]) if (!to.hasAttribute(name) && name !== "open" && name !== "hidden") from.removeAttribute(name);
  let at = from.firstChild;
  const staying = new Set([...to.childNodes].filter((node) => node.id).map(kind));
  for (const node of [...to.childNodes]) {
    const match = matching(node, at, staying);
    if (!match) { from.insertBefore(node, at); continue; }
    while (at !== match) { const gone = at; at = at.nextSibling; gone.remove(); }
    merge(at, node);
    at = at.nextSibling;
  }
  while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
}

// One after the other: an answer that was asked for later never comes to stand below an earlier one.
const waiting = new Set();
let queue = Promise.resolve();
function refresh(path, target, soon_ms = 40) {
  if (waiting.has(path)) return;
  waiting.add(path);
  setTimeout(() => { queue = queue.then(() => { waiting.delete(path); return replace(path, target); }); }, soon_ms);
}

async function replace(path, target) {
  const node = $(target);
  if (!node) return;
  try {
    const answer = await fetch(`/part/${path}`);
    if (answer.status === 401) location.assign("/login");
    if (!answer.ok) return;
    const html = new DOMParser().parseFromString(await answer.text(), "text/html");
    merge(node, path.startsWith("pin/") ? html.body.firstElementChild : Object.assign(node.cloneNode(), { innerHTML: html.body.innerHTML }));
    arranged();
  } catch { /* the stream notices that the hub is away, and says so */ }
}
const refreshAll = () => { for (const name of ["notices", "alerts", "pins", "devices"]) refresh(name, name, 0); };

// --- charts ---------------------------------------------------------------------------------------------------------
const charts = new Map();
let span_s = 300, lanes = [];
const lanesBox = Object.assign(document.createElement("figure"), { className: "lanes" });
lanesBox.innerHTML = '<svg role="img"></svg>';
let chosen = JSON.parse(localStorage.getItem("charts") ?? "null");

function shown() {
  const names = all(".reading").map((node) => node.dataset.reading);
  return chosen ? names.filter((name) => chosen.includes(name)) : firstOf(names);
}

// Until somebody chooses: one of each device before a second of any, and last what says how the device itself does.
function firstOf(names) {
  const before = {};
  const place = (name) => {
    const [device, sensor] = name.split("/");
    if (/(^|_)(battery|linkquality|rssi|uptime)/.test(sensor)) return 1000;
    return before[device] = (before[device] ?? 0) + 1;
  };
  return names.map((name) => [place(name), name]).sort((a, b) => a[0] - b[0]).slice(0, SHOWN_AT_FIRST).map(([, name]) => name);
}

async function loadChart(chart) {
  const answer = await fetch(`/api/readings/${chart.name}?since_s=${span_s}`).catch(() => null);
  if (!answer?.ok) return;
  const live = chart.points, stored = (await answer.json()).points;
  const end = stored.at(-1)?.[0] ?? 0;
  chart.points = stored.concat(live.filter(([t]) => t > end));
  draw();
}

async function loadLanes() {
  const answer = await fetch(`/api/pins/history?since_s=${span_s}`).catch(() => null);
  if (!answer?.ok) return;
  lanes = (await answer.json()).pins.map(({ device, pin, states }) => ({ name: `${device}/${pin}`, states }));
  draw();
}

function draw() {
  const t = lost ? heard_s : now();
  for (const [name, chart] of charts) {
    const node = document.querySelector(`.reading[data-reading="${name}"]`);
    if (node) {
      put(chart.value, node.querySelector(".value").textContent);
      chart.figure.classList.toggle("stale", node.classList.contains("stale"));
    }
    chart.draw(t, span_s, charts.size > 2 ? 104 : 150);
  }
  for (const lane of lanes) {
    const card = document.querySelector(`[data-pin="${lane.name}"]`);
    lane.until = card?.dataset.until ? Number(card.dataset.until) : undefined;
  }
  lanesBox.hidden = !lanes.length;
  drawLanes(lanesBox.firstElementChild, lanes, t, span_s);
}

// After parts were merged: the charts that belong to the readings now shown, and all times.
function arranged() {
  const names = shown();
  for (const [name, chart] of charts) if (!names.includes(name)) { chart.figure.remove(); charts.delete(name); }
  for (const name of names) {
    if (charts.has(name)) continue;
    const { unit, t, value } = document.querySelector(`.reading[data-reading="${name}"]`).dataset;
    const chart = new Chart(name, unit);
    if (now() - t < span_s) chart.push(Number(t), Number(value));
    charts.set(name, chart);
    lanesBox.before(chart.figure);
    loadChart(chart);
  }
  for (const button of all(".reading dt button")) button.setAttribute("aria-pressed", String(names.includes(button.value)));
  times();
  draw();
}

// --- what the hub tells ---------------------------------------------------------------------------------------------
const tell = {
  ping: ({ now_s }) => { ahead_s = now_s - Date.now() / 1000; },
  reset: () => { refreshAll(); for (const chart of charts.values()) loadChart(chart); loadLanes(); },
  status: () => { refresh("devices", "devices"); refresh("pins", "pins"); },
  info: () => { refresh("devices", "devices"); refresh("pins", "pins"); },
  alerts: () => refresh("alerts", "alerts"),
  links: () => { for (const name of ["notices", "alerts", "pins", "devices"]) refresh(name, name); },
  reading({ device, sensor, value, decimals, t_s, stale_s }) {
    const name = `${device}/${sensor}`;
    charts.get(name)?.push(t_s, value);
    const node = document.querySelector(`.reading[data-reading="${name}"]`);
    if (!node) return refresh("devices", "devices");
    put(node.querySelector(".value"), value.toFixed(decimals).replace("-", "−"));
    Object.assign(node.querySelector("time").dataset, { t: t_s });
    Object.assign(node.dataset, { t: t_s, stale: stale_s, value });
  },
  pin({ device, pin, reported }) {
    const name = `${device}/${pin}`, id = `pin-${device}--${pin}`;
    if ($(id)) refresh(`pin/${name}`, id); else refresh("pins", "pins");
    if (!reported) return;
    let lane = lanes.find((one) => one.name === name);
    if (!lane) { lanes.push((lane = { name, states: [] })); lanes.sort((a, b) => (a.name < b.name ? -1 : 1)); }
    if (lane.states.at(-1)?.[1] !== reported.value) {
      lane.states.push([now(), reported.value]);
      $("announced").textContent = `${name} reports ${reported.value}`;
    }
  },
};

let painting = false;
function heard(kind, data) {
  heard_s = now();
  heardAt = performance.now();
  brokenAt = 0;
  tell[kind]?.(data);
  setLive();
  if (!painting) { painting = true; requestAnimationFrame(() => { painting = false; times(); draw(); }); }
}

// --- the connection: a stream, or polling when the hub has no stream left; and saying so when there is neither --------
let last = document.body.dataset.last, source = null, polling = 0;
let heard_s = Number(document.body.dataset.now), heardAt = performance.now(), brokenAt = 0, lost = false;

function setLive() {
  const quiet = performance.now() - heardAt;
  lost = quiet > SILENT_MS || (brokenAt > 0 && performance.now() - brokenAt > LOST_AFTER_MS);
  document.body.classList.toggle("lost", lost);
  $("lost").hidden = !lost;
  $("live").dataset.live = lost ? "lost" : "live";
  put($("live-text"), lost ? "not live" : polling ? "live, every 2 s" : "live");
  if (lost) put($("lost"), `No connection since ${clock(heard_s)}. Everything below is as it was then.`);
}

function stream() {
  source?.close();
  source = new EventSource(`/api/events?last=${encodeURIComponent(last)}`);
  for (const kind of ["ping", ...Object.keys(tell)]) {
    source.addEventListener(kind, (event) => {
      if (event.lastEventId) last = event.lastEventId;
      stopPolling();
      heard(kind, JSON.parse(event.data));
    });
  }
  source.onerror = () => {
    brokenAt ||= performance.now();
    if (source.readyState === EventSource.CLOSED) startPolling();
  };
}

const stopPolling = () => { clearInterval(polling); polling = 0; };

function startPolling() {
  let count = 0;
  polling ||= setInterval(async () => {
    if (++count % 15 === 0) return stream();
    try {
      const answer = await fetch(`/api/events?last=${encodeURIComponent(last)}`, { headers: { Accept: "application/json" } });
      if (answer.status === 401) return location.assign("/login");
      if (!answer.ok) throw new Error(answer.status);
      const { now_s, last: next, reset, events } = await answer.json();
      last = next;
      heard("ping", { now_s });
      if (reset) heard("reset", {});
      for (const { kind, ...data } of events) heard(kind, data);
    } catch { brokenAt ||= performance.now(); }
  }, POLL_MS);
}

// A page that nobody sees gives its stream to others (browsers allow six connections to one host).
document.addEventListener("visibilitychange", () => {
  if (document.hidden) { source?.close(); stopPolling(); } else { heardAt = performance.now(); stream(); }
});

// --- what a person does ---------------------------------------------------------------------------------------------
let saying = 0;
function say(text, bad = false) {
  const node = $("said");
  clearTimeout(saying);
  node.classList.toggle("bad", bad);
  node.textContent = text;
  saying = setTimeout(() => { node.textContent = ""; }, bad ? 12000 : 5000);
}

async function send(card, method, body) {
  const name = card.dataset.pin;
  try {
    const answer = await fetch(`/api/pins/${name}`, {
      method, body: body && JSON.stringify(body), headers: body ? { "Content-Type": "application/json" } : {},
    });
    const found = await answer.json();
    if (answer.status === 401) return location.assign("/login");
    if (!answer.ok) return say(`${name} was not switched: ${found.error}`, true);
    const until = found.desired?.slot === "manual" ? ` until ${clock(found.desired.until_s, false)}` : "";
    say(method === "DELETE" ? `${name}: your claim is withdrawn` : `${name}: claimed${until || ", but a stronger claim decides"}`);
    refresh(`pin/${name}`, card.id, 0);
  } catch {
    say(`${name} was not switched: the hub does not answer`, true);
  }
}

function wish(form, value) {
  const until = form.elements.until.value;
  if (form.elements.for.value !== "until") return { value: Number(value), for: form.elements.for.value };
  const end = new Date();
  const [hours, minutes] = until.split(":");
  end.setHours(Number(hours), Number(minutes), 0, 0);
  if (end.getTime() / 1000 <= now()) end.setDate(end.getDate() + 1);
  return { value: Number(value), until_s: end.getTime() / 1000 };
}

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form.controls");
  if (!form) return;
  event.preventDefault();
  send(form.closest(".pin"), "PUT", wish(form, event.submitter?.value || form.elements.value.value));
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.classList.contains("release")) send(button.closest(".pin"), "DELETE");
  if (button?.dataset.span) {
    span_s = Number(button.dataset.span);
    for (const one of all("[data-span]")) one.setAttribute("aria-pressed", String(one === button));
    for (const chart of charts.values()) { chart.points = []; loadChart(chart); }
    loadLanes();
  }
  if (button?.closest(".reading dt")) {
    chosen = shown().includes(button.value) ? shown().filter((name) => name !== button.value) : [...shown(), button.value];
    localStorage.setItem("charts", JSON.stringify(chosen));
    arranged();
  }
});

document.addEventListener("change", (event) => {
  if (event.target.name !== "for") return;
  const until = event.target.form.elements.until;
  until.hidden = event.target.value !== "until";
  until.required = !until.hidden;
  if (!until.hidden && !until.value) until.value = clock(Date.now() / 1000 + 7200, false);
});

// --------------------------------------------------------------------------------------------------------------------
$("charts").append(lanesBox);
new ResizeObserver(draw).observe($("charts"));
setInterval(() => { setLive(); times(); draw(); }, 1000);
setInterval(() => refresh("devices", "devices"), 60000);  // signal strengths, which are no events
arranged();
loadLanes();
stream();
