// What a keyboard and a pointer gain where scripts run. Without this file everything on the page still works.
"use strict";
(() => {
  const form = document.getElementById("answer");
  if (!form) return;
  const all = (selector, within = form) => Array.from(within.querySelectorAll(selector));
  const root = document.documentElement;
  const memory = (() => {
    try { return window.localStorage; } catch { return null; } // storage may be off
  })();

  // Keys. Single letters can be switched off (WCAG 2.1.4).
  const dialog = document.getElementById("keys");
  const keysOn = document.getElementById("keys-on");
  const help = form.querySelector("[data-help]");
  keysOn.checked = !memory || memory.getItem("rlhf_ext.keys") !== "off";
  const showKeys = () => root.classList.toggle("keys-off", !keysOn.checked);
  keysOn.addEventListener("change", () => {
    if (memory) memory.setItem("rlhf_ext.keys", keysOn.checked ? "on" : "off");
    showKeys();
  });
  root.classList.add("scripted");
  showKeys();
  help.hidden = false;
  help.addEventListener("click", () => dialog.showModal());

  const choose = (input) => {
    input.checked = true;
    input.focus({ preventScroll: true });
    input.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const digit = (number) => {
    const groups = all("fieldset.strength, fieldset.places, fieldset.rating");
    const group = groups.find((one) => !one.querySelector(":checked")) || (groups.length === 1 ? groups[0] : null);
    const input = group && all("input[type=radio]", group)[number - 1];
    if (input) choose(input);
  };
  const open = (index) => {
    const panel = all("details.panel")[index];
    panel.open = true;
    panel.querySelector("textarea, input").focus();
  };
  const press = (selector) => {
    const button = form.querySelector(selector);
    if (button) form.requestSubmit(button);
  };
  const view = () => choose(form.querySelector("input[name=view]:not(:checked)"));
  const actions = { n: () => open(0), s: () => open(1), u: () => press("[data-undo]"), v: view, "?": () => dialog.showModal() };

  document.addEventListener("pointerdown", (event) => {
    all("details.panel[open]").forEach((panel) => { if (!panel.contains(event.target)) panel.open = false; });
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") all("details.panel[open]").forEach((panel) => { panel.open = false; panel.querySelector("summary").focus(); });
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      press(".primary");
      return;
    }
    const typing = event.target.closest("textarea, input[type=text], input[type=number], dialog");
    if (!keysOn.checked || typing || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (/^[1-9]$/.test(event.key)) digit(Number(event.key));
    else if (event.key === "Enter" && !event.target.closest("button, summary, a, label")) press(".primary");
    else if (actions[event.key]) actions[event.key]();
    else return;
    event.preventDefault();
  });

  // The slider follows a pointer that is drawn along it.
  const stops = form.querySelector(".stops");
  if (stops) {
    const nearest = (x) => all("label", stops).reduce((best, label) => {
      const box = label.getBoundingClientRect();
      const distance = Math.abs(x - (box.left + box.right) / 2);
      return distance < best.distance ? { distance, input: label.querySelector("input") } : best;
    }, { distance: Infinity, input: null }).input;
    stops.addEventListener("pointermove", (event) => {
      if (event.buttons !== 1) return;
      const input = nearest(event.clientX);
      if (input && !input.checked) choose(input);
    });
  }

  // The ranking so far, in words: "B, then A and C".
  const order = form.querySelector("[data-live-order]");
  const showOrder = () => {
    const places = new Map();
    all("fieldset.places").forEach((group) => {
      const chosen = group.querySelector(":checked");
      if (chosen) places.set(chosen.value, [...(places.get(chosen.value) || []), group.dataset.letter]);
    });
    const groups = Array.from(places.keys()).sort((a, b) => a - b).map((place) => places.get(place).join(" and "));
    if (groups.length) order.textContent = groups.join(", then ");
  };
  const rating = form.querySelector("[data-live-rating]");
  const showRating = () => {
    const groups = all("fieldset.rating");
    const rated = groups.filter((group) => group.querySelector(":checked")).length;
    if (rated) rating.textContent = `${rated} of ${groups.length} rated`;
  };
  const show = () => { if (order) showOrder(); if (rating) showRating(); };

  // A draft outlives a page that could not be sent: this tab keeps it until its question is answered.
  const draft = (() => {
    try { return window.sessionStorage; } catch { return null; }
  })();
  const kept = () => all("input[type=radio], input[type=checkbox], input[type=text], textarea").filter((input) => input.name);
  const save = () => {
    if (!draft) return;
    const values = kept().map((input) => (/radio|checkbox/.test(input.type) ? input.checked : input.value));
    draft.setItem("rlhf_ext.draft", JSON.stringify([form.dataset.assignment, values]));
  };
  const restore = () => {
    const [assignment, values] = JSON.parse((draft && draft.getItem("rlhf_ext.draft")) || "[null, []]");
    const inputs = kept();
    if (assignment !== form.dataset.assignment || form.dataset.filled === "yes" || values.length !== inputs.length) return;
    inputs.forEach((input, index) => {
      if (/radio|checkbox/.test(input.type)) input.checked = values[index];
      else input.value = values[index];
    });
  };
  form.addEventListener("input", () => { save(); show(); });
  restore();
  show();

  // One click, one form: the second is let through again when the page comes back.
  let sent = false;
  form.addEventListener("submit", (event) => {
    if (sent) event.preventDefault();
    sent = true;
    window.setTimeout(() => { sent = false; }, 4000);
  });
  window.addEventListener("pageshow", () => { sent = false; });
})();
