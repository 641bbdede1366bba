// What the browser tests measure in the page.

const channels = (text) => (text.match(/[\d.]+/g) || []).map(Number);

function luminance([r, g, b]) {
  const linear = [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}

function behind(node) {
  for (let at = node; at; at = at.parentElement) {
    const colour = channels(getComputedStyle(at).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
}

// Visible texts whose contrast is below 4.5 (WCAG 2.2, 1.4.3).
function faint() {
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((one) => one.nodeType === 3 && one.data.trim());
    if (!own || !node.checkVisibility() || node.closest(".sr, noscript")) continue;
    const style = getComputedStyle(node), inside = node.closest("svg");
    const [a, b] = [luminance(channels(inside ? style.fill : style.color)), luminance(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${node.tagName} "${node.textContent.trim().slice(0, 30)}" ${ratio.toFixed(2)}`);
  }
  return found;
}

// Controls without a name.
const unlabelled = () => [...document.querySelectorAll("button, input, select, summary, a")]
  .filter((node) => node.getAttribute("aria-hidden") !== "true" && !node.getAttribute("aria-label") && !node.textContent.trim() && !node.labels?.length)
  .map((node) => node.outerHTML);

const smallButtons = () => [...document.querySelectorAll(".controls button")].filter((one) => one.offsetHeight < 44).length;

const places = () => JSON.stringify([...document.querySelectorAll("h3, .reading .unit")].map((one) => one.getBoundingClientRect()));

window.probes = { faint, unlabelled, smallButtons, places };
