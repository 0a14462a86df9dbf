"use strict";
(() => {
  const root = document.documentElement;
  const search = document.getElementById("search");
  if (search) root.classList.add("js");
  const items = Array.from(document.querySelectorAll("[data-text]"));
  const chips = Array.from(document.querySelectorAll(".chips button"));
  const status = document.getElementById("status");
  let verdict = "";

  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const item of items) {
      const fits = (!verdict || item.dataset.verdict === verdict)
        && words.every((word) => item.dataset.text.includes(word));
      item.hidden = !fits;
      if (fits) shown += 1;
    }
    for (const fold of document.querySelectorAll("[data-fold]")) {
      const rows = Array.from(fold.querySelectorAll("[data-text]"));
      fold.hidden = rows.every((row) => row.hidden);
      if (words.length || verdict) fold.open = true;
    }
    const filtered = words.length || verdict;
    status.textContent = filtered ? `${shown} of ${items.length} shown` : "";
  };

  if (search) {
    search.addEventListener("input", apply);
    for (const chip of chips) {
      chip.addEventListener("click", () => {
        verdict = chip.dataset.only;
        for (const other of chips) other.setAttribute("aria-pressed", String(other === chip));
        apply();
      });
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest(".fix button");
    if (!button) return;
    const source = button.parentElement.querySelector("pre");
    const done = () => { button.textContent = "Copied"; };
    const select = () => {
      const range = document.createRange();
      range.selectNodeContents(source);
      const selection = window.getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      button.textContent = "Selected";
    };
    if (navigator.clipboard) navigator.clipboard.writeText(source.textContent).then(done, select);
    else select();
  });

  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = Array.from(document.querySelectorAll("details:not([open])"));
    for (const details of closed) details.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const details of closed) details.open = false;
  });
})();
