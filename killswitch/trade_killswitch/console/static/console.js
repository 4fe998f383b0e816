// The console's script: sends forms as JSON, and brings the panels up to date. No framework, no markup made from text.
"use strict";

const LIVE_EVERY_MS = 1000;

async function post(path, content) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(content),
    credentials: "same-origin",
    redirect: "error",
  });
  let told = {};
  try { told = await answer.json(); } catch { /* said below */ }
  if (answer.status === 401) { location.replace("/sign-in"); }
  if (!answer.ok) { throw new Error(typeof told.detail === "string" ? told.detail : `HTTP ${answer.status}`); }
  return told;
}

function say(place, words, tone) {
  if (!place) { return; }
  place.textContent = words;
  place.className = `said ${tone}`;
}

function contentOf(form) {
  const content = {};
  for (const [name, value] of new FormData(form)) { content[name] = value; }
  return content;
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  const path = form.dataset.act;
  if (!path) { return; }
  event.preventDefault();
  const place = form.querySelector(".said");
  const buttons = form.querySelectorAll("button");
  buttons.forEach((button) => { button.disabled = true; });
  say(place, "one moment", "");
  try {
    const told = await post(path, contentOf(form));
    say(place, told.said, "good");
    if (form.dataset.then) { location.replace(form.dataset.then); }
  } catch (error) {
    say(place, error.message, "stopped");
  } finally {
    buttons.forEach((button) => { button.disabled = false; });
  }
});

// The answer is parsed as a document by the browser: nothing in it is run, and nothing is ever made markup here.
function fetchPanels(path) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", path);
    request.responseType = "document";
    request.timeout = 5000;
    request.onload = () => {
      if (request.status === 401) { location.replace("/sign-in"); }
      if (request.status === 200 && request.responseXML) { resolve(request.responseXML); }
      else { reject(new Error(`HTTP ${request.status}`)); }
    };
    request.onerror = request.ontimeout = () => reject(new Error("the console does not answer"));
    request.send();
  });
}

function replaceChanged(live, fresh) {
  for (const part of fresh.querySelectorAll("[id^=p-]")) {
    const shown = live.querySelector(`#${part.id}`);
    if (!shown || shown.isEqualNode(part)) { continue; }
    const active = document.activeElement;
    // Somebody who types in a part, or whose action there is under way, is not disturbed.
    if (shown.contains(active) && (active.matches("input, textarea, select") || shown.querySelector("[disabled]"))) { continue; }
    const focused = shown.contains(active) ? active.id : "";
    const scrolls = [...shown.querySelectorAll(".items")].map((list) => list.scrollTop);
    const taken = document.importNode(part, true);
    shown.replaceWith(taken);
    [...taken.querySelectorAll(".items")].forEach((list, index) => { list.scrollTop = scrolls[index] || 0; });
    if (focused) { document.getElementById(focused)?.focus({ preventScroll: true }); }
  }
  const head = live.querySelector("#p-head");
  if (head) { document.title = `${head.dataset.state} - Trade`; }
}

async function keepLive(live) {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, LIVE_EVERY_MS));
    if (document.hidden) { continue; }
    try {
      replaceChanged(live, await fetchPanels(live.dataset.live));
      live.classList.remove("stale");
    } catch (error) {
      const head = live.querySelector("#p-head");
      if (!head || live.classList.contains("stale")) { continue; }
      live.classList.add("stale");
      head.className = "head unknown";
      head.querySelector(".state").textContent = "unknown";
      head.querySelector(".sentence").textContent =
        `This page shows what was so at ${live.querySelector("#clock").textContent}: ${error.message}.`;
      document.title = "unknown - Trade";
    }
  }
}

const live = document.getElementById("live");
if (live) { keepLive(live); }
