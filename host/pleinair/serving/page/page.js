// The page's own script: it fetches the parts of the page again and puts in those that changed; and the slider.
"use strict";

const EVERY = 2000; // milliseconds
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
  setTimeout(watch, EVERY);
}
if (live.dataset.from) {
  for (const part of live.children) shown.set(part.id, part.outerHTML);
  setTimeout(watch, EVERY);
}
