// The page's own script: it fetches the parts of the page again and puts in those that changed; and the slider.
"use strict";

let pause = 2; // seconds until the parts are fetched again; the server asks for more where many watch
const live = document.getElementById("live");
const lost = document.getElementById("lost");
document.documentElement.classList.add("script");

document.addEventListener("input", event => {
  if (event.target.matches(".slider")) event.target.parentElement.style.setProperty("--at", event.target.value + "%");
});

// A film plays when its fold is opened, and rests when it is closed.
document.addEventListener("toggle", event => {
  const video = event.target.matches?.(".film") && event.target.querySelector("video");
  if (video) event.target.open ? video.play().catch(() => {}) : video.pause();
}, true);

const parse = html => document.createRange().createContextualFragment(html);

// Both pictures of a pair are put in together, once both are there: they are of the same frame.
async function withPictures(part, old) {
  await Promise.all([...part.querySelectorAll(".pair img")].map(image => image.decode()));
  const slider = part.querySelector(".slider"), before = old.querySelector(".slider");
  if (slider && before) {
    slider.value = before.value;
    slider.parentElement.style.setProperty("--at", before.value + "%");
  }
  const focused = before && document.activeElement === before;
  old.replaceWith(part);
  if (focused && slider) slider.focus();
}

// A state that did not change is not read out again.
function withState(part, old) {
  const word = part.querySelector(".state"), before = old.querySelector(".state");
  if (word.textContent !== before.textContent) before.textContent = word.textContent;
  before.className = word.className;
  old.querySelector(".more").textContent = part.querySelector(".more").textContent;
}

function busy(old) {
  const video = [...old.querySelectorAll("video")].some(video => !video.paused && !video.ended);
  return video || old.querySelector("details[open]") || old.contains(document.activeElement) && old.id !== "pair";
}

let shown = new Map();
async function turn() {
  const answer = await fetch(live.dataset.from, { cache: "no-store" });
  if (!answer.ok) throw new Error(answer.status);
  pause = Number(answer.headers.get("Poll-After")) || 2;
  const html = await answer.text(), parts = [...parse(html).children];
  const ids = parts.map(part => part.id).join(), there = [...live.children].map(part => part.id).join();
  if (ids !== there && ![...live.children].some(busy)) {
    live.replaceChildren(...parts);
    shown = new Map(parts.map(part => [part.id, part.outerHTML]));
    return;
  }
  for (const part of parts) {
    const text = part.outerHTML, old = document.getElementById(part.id);
    if (!old || shown.get(part.id) === text) continue;
    if (part.id === "pair") await withPictures(part, old);
    else if (part.id === "state") withState(part, old);
    else if (busy(old)) continue;
    else old.replaceWith(part);
    shown.set(part.id, text);
  }
}

async function watch() {
  if (!document.hidden) {
    try {
      await turn();
      lost.hidden = true;
    } catch (error) {
      lost.hidden = false;
    }
    document.body.classList.toggle("lost", !lost.hidden);
  }
  setTimeout(watch, 1000 * pause);
}
if (live.dataset.from) {
  for (const part of live.children) shown.set(part.id, part.outerHTML);
  setTimeout(watch, 1000 * pause);
}

// -- changing something, with the token

const KEY = "pleinair token";
const answer = document.getElementById("answer");

let hide = 0;
function say(text) {
  answer.textContent = text;
  answer.hidden = !text;
  clearTimeout(hide);
  hide = setTimeout(() => { answer.hidden = true; }, 15000);
}

function may(token) {
  if (token) localStorage.setItem(KEY, token); else localStorage.removeItem(KEY);
  document.documentElement.classList.toggle("may", Boolean(token));
}

async function post(address, body) {
  const token = localStorage.getItem(KEY) || "";
  const headers = { "Authorization": "Bearer " + encodeURI(token), "Content-Type": "application/octet-stream" };
  const sent = await fetch(address, { method: "POST", headers, body });
  const told = sent.headers.get("Content-Type").startsWith("application/json") ? await sent.json() : { said: await sent.text() };
  say(told.said);
  if (sent.status === 401) may("");
  return sent.ok ? told : null;
}

document.addEventListener("click", async event => {
  const button = event.target.closest("button[data-post]");
  if (!button || (button.dataset.ask && !confirm(button.dataset.ask))) return;
  button.disabled = true;
  button.blur();
  try {
    await post(button.dataset.post, button.dataset.body || "");
    await turn();
  } catch (error) {
    say("No answer.");
  }
  button.disabled = false;
});

if (document.getElementById("permit")) {
  may(localStorage.getItem(KEY));
  document.getElementById("enter").addEventListener("submit", async event => {
    event.preventDefault();
    const field = document.getElementById("token");
    localStorage.setItem(KEY, field.value.trim());
    const right = await post("/enter", "").catch(() => say("No answer."));
    may(right ? field.value.trim() : "");
    field.value = "";
  });
  document.getElementById("leave").addEventListener("click", () => { may(""); say(""); });
}

// -- a new roll

const begin = document.getElementById("begin");
if (begin) {
  begin.addEventListener("submit", async event => {
    event.preventDefault();
    const button = begin.querySelector("button");
    button.disabled = true;
    say("The camera is asked for a first frame.");
    const told = await post("/begin", JSON.stringify(Object.fromEntries(new FormData(begin)))).catch(() => say("No answer."));
    button.disabled = false;
    if (told && told.roll) location.href = told.roll;
  });
}

// -- a photo in every style

const drop = document.getElementById("drop");
if (drop) {
  const grid = document.getElementById("painted");

  function card(source, name) {
    const item = document.createElement("li"), image = new Image(), words = document.createElement("div");
    const title = document.createElement("h3");
    image.src = source; image.alt = name; title.textContent = name;
    words.append(title); item.append(image, words); grid.append(item);
  }

  async function paint(file) {
    grid.replaceChildren();
    say("The photo is sent.");
    const begun = await post("/photo", file);
    if (!begun) return;
    const there = new Set();
    card(URL.createObjectURL(file), "your photo");
    for (;;) {
      const told = await fetch(begun.photo, { cache: "no-store" }).then(got => got.json());
      for (const name of told.ready) {
        if (!there.has(name)) card(begun.photo + "/" + encodeURIComponent(name) + ".jpg", name);
        there.add(name);
      }
      const failed = Object.keys(told.problems);
      say(told.done ? "Painted in " + there.size + " styles." + (failed.length ? " Not in " + failed.join(", ") + "." : "")
        : "Painted in " + there.size + " of " + told.of + " styles.");
      if (told.done) return;
      await new Promise(resolve => setTimeout(resolve, 1000));
    }
  }

  const take = file => file && paint(file).catch(() => say("No answer."));
  document.getElementById("file").addEventListener("change", event => take(event.target.files[0]));
  for (const name of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(name, event => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop") take(event.dataTransfer.files[0]);
    });
  }
}

// -- the focus view, while it is open

const finder = document.getElementById("finder");
if (finder) {
  const focus = document.getElementById("focus"), figure = document.getElementById("figure");
  const meter = document.getElementById("meter");
  let best = 0, number = -1, through = null;

  async function look() {
    if (!focus.open) return;
    try {
      const told = document.hidden ? null : await fetch(finder.dataset.focus, { cache: "no-store" }).then(got => got.json());
      if (told && told.camera !== through) { best = 0; number = -1; through = told.camera; }
      if (told && told.number !== undefined && told.number !== number) {
        number = told.number;
        best = Math.max(best, told.sharpness);
        meter.max = best || 1;
        meter.value = told.sharpness;
        for (const name of ["centre", "whole"]) {
          const image = document.getElementById(name);
          image.src = finder.dataset.focus + "/" + number + "-" + name + ".jpg?" + Date.now();
          image.hidden = false;
        }
        const from = through ? "the camera" : "frame " + number;
        figure.textContent = "Sharpness " + told.sharpness + " of " + from + "; the best so far " + best + ".";
      }
      if (told && told.problem) say(told.problem);
    } catch (error) {
      figure.textContent = "No answer.";
    }
    setTimeout(look, through ? 500 : 1500);
  }
  focus.addEventListener("toggle", () => { best = 0; number = -1; look(); });
}
