// Colours: from the style sheet, so that plots and canvases follow light, dark and print.
"use strict";

const THEMES = ["auto", "light", "dark"];

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function cellColor(cell) {
  return color(`c${cell.color % 8}`);
}

function faded(hex, alpha) {
  const n = parseInt(hex.slice(1), 16);
  return `rgba(${n >> 16}, ${(n >> 8) & 255}, ${n & 255}, ${alpha})`;
}

function isDark() {
  return document.documentElement.dataset.theme === "dark";
}

function requestColor(index, pale) {
  const hue = (index * 137.508) % 360;
  const light = isDark() ? (pale ? 27 : 62) : pale ? 87 : 46;
  return `hsl(${hue}deg ${pale ? 35 : 62}% ${light}%)`;
}

const numbers = new Map();

function requestNumber(id, otherwise) {
  if (!numbers.size) page.data.requests.forEach((request, i) => numbers.set(request.id, i));
  return numbers.get(id) ?? otherwise;
}

function startTheme() {
  const button = document.getElementById("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  let chosen = "auto";
  const apply = (theme) => {
    document.documentElement.dataset.theme = theme === "auto" ? (system.matches ? "dark" : "light") : theme;
    if (page.data) page.drawers.forEach((draw) => draw());
  };
  button.addEventListener("click", () => {
    chosen = THEMES[(THEMES.indexOf(chosen) + 1) % THEMES.length];
    button.textContent = `Colours: ${chosen}`;
    apply(chosen);
  });
  system.addEventListener("change", () => apply(chosen));
  const print = (on, theme) => {
    document.documentElement.classList.toggle("printing", on);
    apply(theme);
  };
  window.addEventListener("beforeprint", () => print(true, "light"));
  window.addEventListener("afterprint", () => print(false, chosen));
  apply(chosen);
}
