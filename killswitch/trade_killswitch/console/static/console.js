// The console's script: sends forms as JSON, has security keys sign, and brings the panels up to date.
// No framework, and no markup is ever made from text.
"use strict";

const LIVE_EVERY_MS = 1000;
const TOUCH_TIMEOUT_MS = 60000;

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

function say(form, words, tone) {
  const place = form.querySelector(".said");
  if (!place) { return; }
  place.textContent = words;
  place.className = `said ${tone}`;
}

function contentOf(form) {
  const content = {};
  for (const field of form.elements) {
    if (!field.name || (field.type === "checkbox" && !field.checked)) { continue; }
    if ("list" in field.dataset) { (content[field.name] ??= []).push(field.value); }
    else { content[field.name] = "number" in field.dataset ? Number(field.value) : field.value; }
  }
  return content;
}

// Runs something that a form asks for, once at a time: twenty clicks are one.
async function busy(form, work) {
  if (form.dataset.busy) { return; }
  form.dataset.busy = "yes";
  const buttons = form.querySelectorAll("button");
  buttons.forEach((button) => { button.disabled = true; });
  say(form, "one moment", "");
  try {
    say(form, await work(), "good");
  } catch (error) {
    say(form, explained(error), "stopped");
  } finally {
    delete form.dataset.busy;
    buttons.forEach((button) => { button.disabled = false; });
  }
}

function explained(error) {
  if (error.name === "NotAllowedError") { return "no key was touched in time, or it was cancelled; nothing was done"; }
  if (error.name === "InvalidStateError") { return "that key is enrolled already; take another one"; }
  if (error.name === "SecurityError") { return "security keys work only at the console's own name; look at the address"; }
  return error.message;
}

// base64url, as the server writes bytes.
function bytesOf(text) {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

function textOf(buffer) {
  const binary = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

async function touch(shown, allow) {
  const found = await navigator.credentials.get({
    publicKey: {
      challenge: bytesOf(shown.challenge),
      rpId: shown.rp_id,
      allowCredentials: allow.map((id) => ({ type: "public-key", id: bytesOf(id) })),
      userVerification: "required",
      timeout: TOUCH_TIMEOUT_MS,
    },
  });
  return {
    credential_id: textOf(found.rawId),
    authenticator_data: textOf(found.response.authenticatorData),
    client_data: textOf(found.response.clientDataJSON),
    signature: textOf(found.response.signature),
  };
}

async function touchAll(form, shown) {
  const touches = [];
  let allow = shown.allow;
  for (let number = 1; number <= shown.keys; number += 1) {
    say(form, shown.keys === 1 ? "touch the key" : `touch key ${number} of ${shown.keys}`, "");
    const given = await touch(shown, allow);
    touches.push(given);
    allow = allow.filter((id) => id !== given.credential_id);
  }
  return touches;
}

async function makeKey(form) {
  const asked = await post("/enrol/begin", {});
  say(form, "touch the new key", "");
  const made = await navigator.credentials.create({
    publicKey: {
      challenge: bytesOf(asked.challenge),
      rp: { id: asked.rp_id, name: "Trade" },
      user: { id: bytesOf(asked.user), name: asked.name, displayName: asked.name },
      pubKeyCredParams: [{ type: "public-key", alg: -7 }, { type: "public-key", alg: -8 }],
      excludeCredentials: asked.exclude.map((id) => ({ type: "public-key", id: bytesOf(id) })),
      authenticatorSelection: { userVerification: "required", residentKey: "discouraged" },
      attestation: "direct",
      timeout: TOUCH_TIMEOUT_MS,
    },
  });
  const told = await post("/enrol/key", {
    label: form.elements.label.value,
    credential_id: textOf(made.rawId),
    attestation_object: textOf(made.response.attestationObject),
    client_data: textOf(made.response.clientDataJSON),
  });
  form.elements.label.value = "";
  const list = form.parentElement.querySelector(".made");
  list.replaceChildren(...told.labels.map((label) => {
    const item = document.createElement("li");
    item.textContent = `new: ${label}`;
    return item;
  }));
  return told.said;
}

const shownBy = new WeakMap();

function showSigning(form, shown) {
  shownBy.set(form, shown);
  const signing = form.querySelector(".signing");
  signing.querySelector(".words").textContent = shown.words;
  signing.querySelector(".coded").hidden = !shown.needs_code;
  signing.querySelector(".sign").textContent =
    shown.needs_code ? "Enrol" : shown.keys === 1 ? "Touch the key" : `Touch ${shown.keys} keys`;
  form.querySelector("button[type=submit]").hidden = true;
  signing.hidden = false;
  signing.querySelector(".words").focus();
}

function hideSigning(form) {
  shownBy.delete(form);
  const signing = form.querySelector(".signing");
  signing.hidden = true;
  signing.querySelector(".bootstrap").value = "";
  form.querySelector("button[type=submit]").hidden = false;
}

async function handOver(form) {
  const shown = shownBy.get(form);
  const code = shown.needs_code ? form.querySelector(".bootstrap").value : "";
  try {
    const touches = shown.needs_code ? [] : await touchAll(form, shown);
    const told = await post("/hand-over", { draft: shown.draft, touches, code });
    if (form.dataset.ceremony === "ring") { form.querySelector(".made").replaceChildren(); }
    return told.said;
  } finally {
    hideSigning(form);
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  event.preventDefault();
  if (form.dataset.act) {
    busy(form, async () => {
      const told = await post(form.dataset.act, contentOf(form));
      if (form.dataset.then) { location.replace(form.dataset.then); }
      return told.said;
    });
  } else if (form.dataset.ceremony) {
    if (shownBy.has(form)) { busy(form, () => handOver(form)); return; }
    busy(form, async () => {
      showSigning(form, await post("/draft", { action: form.dataset.ceremony, ...contentOf(form) }));
      return "";
    });
  } else if ("enrol" in form.dataset) {
    busy(form, () => makeKey(form));
  }
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  const form = button?.closest("form[data-ceremony]");
  if (!form) { return; }
  if (button.classList.contains("sign")) { busy(form, () => handOver(form)); }
  if (button.classList.contains("back")) { hideSigning(form); say(form, "", ""); }
});

// The answer is parsed as a document by the browser: nothing in it is run, and nothing is made markup here.
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

// What a person changes in a part (ticks, texts, an action under way) is no difference to what the server says.
const lastHeard = new Map();

function replaceChanged(live, fresh) {
  for (const part of fresh.querySelectorAll("[id^=p-]")) {
    const shown = live.querySelector(`#${part.id}`);
    const heard = lastHeard.get(part.id);
    if (!shown || (heard ? heard.isEqualNode(part) : shown.isEqualNode(part))) { continue; }
    const active = document.activeElement;
    // Whoever types in a part, or waits for an action there, is not disturbed.
    if (shown.contains(active) && (active.matches("input, textarea, select") || shown.querySelector("[data-busy]"))) { continue; }
    const focused = shown.contains(active) ? active.id : "";
    const scrolls = [...shown.querySelectorAll(".items")].map((list) => list.scrollTop);
    const taken = document.importNode(part, true);
    lastHeard.set(part.id, part);
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
      const fresh = await fetchPanels(live.dataset.live);
      if (live.classList.contains("stale")) { lastHeard.delete("p-head"); live.classList.remove("stale"); }
      replaceChanged(live, fresh);
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
