"use strict";

document.documentElement.classList.add("js");

// Galleries: the slider blends the perturbed image over the clean one.
for (const gallery of document.querySelectorAll(".gallery")) {
  const slider = gallery.querySelector("input[type=range]");
  if (!slider) continue;
  const box = gallery.querySelector("input[type=checkbox]");
  const show = () => {
    gallery.style.setProperty("--mix", slider.value / 100);
    gallery.querySelector("output").textContent = `${slider.value} %`;
    slider.setAttribute("aria-valuetext", `${slider.value} % perturbed`);
    gallery.classList.toggle("difference", box.checked);
    slider.disabled = box.checked;
  };
  slider.addEventListener("input", show);
  box.addEventListener("input", show);
  // A browser may have restored earlier settings.
  show();
}

// Score maps: scores are unpacked when a map is first used.
const data = JSON.parse(document.getElementById("data").textContent);

function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed), (char) => char.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Array.from({ length: bytes.length / 4 }, (_, place) => view.getFloat32(4 * place, true));
}

function format(score) {
  if (!Number.isFinite(score)) return "infinite";
  return Math.abs(score) >= 1e4 ? score.toExponential(3) : String(Number(score.toPrecision(4)));
}

for (const map of document.querySelectorAll(".map")) {
  const objective = data[map.dataset.map];
  const own = objective.classes[map.dataset.class];
  const field = map.querySelector(".field");
  const cursor = map.querySelector(".cursor");
  const swatch = map.querySelector(".swatch");
  const text = map.querySelector(".text");
  const chosen = { text: text.textContent, color: swatch.style.background };
  const ring = map.querySelector(".ring");
  let row = Math.floor((parseFloat(ring.style.top) / 100) * objective.height);
  let column = Math.floor((parseFloat(ring.style.left) / 100) * objective.width);
  let scores = null;

  const show = () => {
    scores ??= unpack(own.scores);
    const place = row * objective.width + column;
    const best = parseInt(own.best[place], 16);
    cursor.hidden = false;
    cursor.style.left = `${(100 * (column + 0.5)) / objective.width}%`;
    cursor.style.top = `${(100 * (row + 0.5)) / objective.height}%`;
    cursor.style.width = `max(${100 / objective.width}%, 8px)`;
    cursor.style.height = `max(${100 / objective.height}%, 8px)`;
    swatch.style.background = objective.css[best];
    text.textContent = `row ${row}, column ${column}, best score ${format(scores[place])}, best colour ${objective.colors[best]}`;
  };
  const leave = () => {
    cursor.hidden = true;
    swatch.style.background = chosen.color;
    text.textContent = chosen.text;
  };
  const point = (event) => {
    const box = field.getBoundingClientRect();
    const within = (part, count) => Math.min(count - 1, Math.max(0, Math.floor(part * count)));
    row = within((event.clientY - box.top) / box.height, objective.height);
    column = within((event.clientX - box.left) / box.width, objective.width);
    show();
  };
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const press = (event) => {
    const step = steps[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    row = Math.min(objective.height - 1, Math.max(0, row + step[0]));
    column = Math.min(objective.width - 1, Math.max(0, column + step[1]));
    show();
  };
  field.addEventListener("pointermove", point);
  field.addEventListener("pointerdown", point);
  field.addEventListener("pointerleave", (event) => {
    // After a touch, or while the map has the focus, the numbers stay.
    if (event.pointerType === "mouse" && document.activeElement !== field) leave();
  });
  field.addEventListener("focus", show);
  field.addEventListener("blur", leave);
  field.addEventListener("keydown", press);
}
