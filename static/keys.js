// The profile's two conveniences; the page works without this file.

// The list of providers shows what is typed; without a script it shows all of them.
document.addEventListener("input", (event) => {
  if (event.target.id !== "offers-find") return;
  const wanted = event.target.value.trim().toLowerCase().split(/\s+/);
  let shown = 0;
  for (const offer of document.querySelectorAll("#offers > .offer")) {
    offer.hidden = !wanted.every((word) => offer.dataset.words.includes(word));
    if (!offer.hidden) shown += 1;
  }
  document.getElementById("offers-none").hidden = shown > 0;
});

// Seconds go on between two messages of a running sync. They are counted from when they arrived: clocks may differ.
const arrived = new WeakMap();
setInterval(() => {
  for (const piece of document.querySelectorAll("[data-seconds]")) {
    if (!arrived.has(piece)) arrived.set(piece, performance.now());
    const seconds = Number(piece.dataset.seconds) + (performance.now() - arrived.get(piece)) / 1000;
    piece.textContent = seconds < 60 ? `${Math.floor(seconds)} s` : `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  }
}, 1000);
