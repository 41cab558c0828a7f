// The few things that HTML alone cannot do; every page works without this file.
"use strict";
(() => {
  const find = (query, within = document) => within.querySelector(query);
  document.documentElement.classList.add("scripted"); // shows what needs a script, such as the buttons that copy

  // ---------------------------------------------------------------- toasts
  // The server sends them into #toasts as they shall look; a news leaves by itself, a failure when it is closed.

  const toasts = find("#toasts");
  const STAY_MS = 12_000;

  function toast(text, tone, link) {
    const made = find("#toast").content.firstElementChild.cloneNode(true);
    made.classList.add(`toast-${tone}`);
    if (tone === "bad") made.setAttribute("role", "alert");
    const words = find("p", made);
    words.textContent = text;
    if (link) words.append(" ", Object.assign(document.createElement("a"), link));
    toasts.append(made);
  }

  function leaveLater(one) {
    let timer;
    const wait = () => { timer = setTimeout(() => one.remove(), STAY_MS); };
    const stay = () => clearTimeout(timer);
    for (const kind of ["mouseenter", "focusin"]) one.addEventListener(kind, stay);
    for (const kind of ["mouseleave", "focusout"]) one.addEventListener(kind, wait);
    wait();
  }

  new MutationObserver((records) => {
    for (const one of records.flatMap((record) => [...record.addedNodes])) {
      if (!one.matches?.(".toast")) continue;
      const said = (other) => other.textContent.trim();
      for (const other of toasts.children) if (other !== one && said(other) === said(one)) other.remove();
      if (!one.matches(".toast-bad")) leaveLater(one);
    }
  }).observe(toasts, { childList: true });

  // ---------------------------------------------------------------- answers that are no pages
  // Errors of our own come as toasts. What comes from elsewhere, such as a proxy's page, must replace nothing.

  document.addEventListener("htmx:response:error", ({ detail: { ctx } }) => {
    const { status } = ctx.response;
    if (ctx.text.includes("<hx-partial") || (status < 500 && status !== 429 && status !== 401)) return;
    ctx.swap = "none";
    if (status === 429) toast("Too many requests. Wait a moment, then try again.", "bad");
    else if (status >= 500) toast("The server had trouble with that. Try again in a moment.", "bad");
  });
  document.addEventListener("htmx:error", ({ detail: { ctx } }) => {
    const elt = ctx?.sourceElement;
    if (ctx?.status?.startsWith("error: TypeError") && elt?.matches("form, a, button")) {
      toast("The server cannot be reached. Nothing was changed; try again.", "bad");
    }
  });

  // ---------------------------------------------------------------- news
  // The badge asks for itself: each minute while somebody looks, and as soon as somebody looks again.

  const isNews = (ctx) => ctx?.sourceElement?.id === "new-badge";
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) find("#new-badge")?.dispatchEvent(new Event("look"));
  });
  document.addEventListener("htmx:before:request", (event) => {
    if (document.hidden && isNews(event.detail.ctx)) event.preventDefault();
  });
  document.addEventListener("htmx:before:response", (event) => {
    const { ctx } = event.detail;
    if (ctx.response.status !== 401 || !isNews(ctx)) return;
    event.preventDefault(); // nobody is led away from what they were typing
    const next = encodeURIComponent(location.pathname + location.search);
    toast("You are signed out.", "warn", { href: `/login?next=${next}`, textContent: "Sign in again" });
  });

  // ---------------------------------------------------------------- focus stays where it was
  // htmx keeps it by id. Where what had it is gone, the piece that came has it, not the top of the page.

  let focused;
  document.addEventListener("htmx:before:swap", ({ detail }) => {
    const had = document.activeElement;
    const target = detail.tasks?.find((task) => task.type === "main")?.target ?? detail.ctx?.target;
    focused = had && had !== document.body && target?.contains?.(had) ? { id: had.id, within: target.id } : undefined;
  });
  document.addEventListener("htmx:after:swap", () => {
    if (!focused || (document.activeElement && document.activeElement !== document.body)) return;
    const heir = document.getElementById(focused.id) ?? document.getElementById(focused.within);
    focused = undefined;
    if (!heir) return;
    if (!heir.matches("a, button, input, select, textarea, summary")) heir.tabIndex = -1;
    heir.focus({ preventScroll: true });
  });

  // A line of tabs that is wider than the screen begins where one is.
  find(".subnav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

  // ---------------------------------------------------------------- dialogs and menus

  const closeMenus = (but) => {
    for (const menu of document.querySelectorAll(".menu[open]")) if (!menu.contains(but)) menu.open = false;
  };
  document.addEventListener("keydown", (event) => {
    const menu = event.key === "Escape" && event.target.closest(".menu[open]");
    if (menu) { closeMenus(null); find("summary", menu).focus(); }
  });
  document.addEventListener("click", (event) => {
    closeMenus(event.target);
    const opener = event.target.closest("[data-opens]");
    if (opener) document.getElementById(opener.dataset.opens).showModal();
    event.target.closest("[data-close]")?.closest(".toast")?.remove();
    event.target.closest("[data-close]")?.closest("dialog")?.close();
    if (event.target.matches("dialog")) event.target.close(); // its backdrop
  });

  document.addEventListener("htmx:confirm", (event) => {
    const dialog = find("#confirm");
    if (!dialog) return;
    event.preventDefault();
    const { ctx, issueRequest, dropRequest } = event.detail;
    const yes = find("[value=yes]", dialog);
    find("p", dialog).textContent = ctx.confirm;
    yes.textContent = find("button", ctx.sourceElement)?.textContent.trim() || "Go on";
    dialog.returnValue = "";
    yes.onclick = () => dialog.close("yes");
    dialog.onclose = () => (dialog.returnValue === "yes" ? issueRequest() : dropRequest());
    dialog.showModal();
  });

  // ---------------------------------------------------------------- keys: the table in #shortcuts says which

  const shortcuts = find("#shortcuts");
  const OFF = "modelsync-keys-off";
  const kept = { get off() { try { return localStorage.getItem(OFF); } catch { return null; } } };
  const SEQUENCE_MS = 1500;
  let begun = "";
  let timer;

  function press(key) {
    const keys = [begun && `${begun} ${key}`, key].find((one) => one && find(`[data-keys="${one}"]`, shortcuts));
    begun = "";
    clearTimeout(timer);
    if (!keys) {
      if (!find(`[data-keys^="${key} "]`, shortcuts)) return false;
      begun = key;
      timer = setTimeout(() => { begun = ""; }, SEQUENCE_MS);
      return true;
    }
    const field = keys === "/" && [...document.querySelectorAll("main input[type=search]")].find((one) => one.checkVisibility());
    if (field) { field.focus(); field.select(); }
    else find(`[data-keys="${keys}"]`, shortcuts).click();
    return true;
  }

  if (shortcuts) {
    document.addEventListener("keydown", (event) => {
      const { key, target } = event;
      if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || event.repeat || kept.off) return;
      if (target.closest("input, select, textarea, [contenteditable], dialog") || find("dialog[open]")) return;
      if (/^[a-z/?]$/.test(key) && press(key)) event.preventDefault();
    });
    const box = find("input[type=checkbox]", shortcuts);
    box.checked = !kept.off;
    box.addEventListener("change", () => {
      try { box.checked ? localStorage.removeItem(OFF) : localStorage.setItem(OFF, "1"); } catch { /* for this page only */ }
    });
  }

  // ---------------------------------------------------------------- copying
  // The text beside the button can be selected anyway.

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button || button.dataset.before) return;
    const { innerHTML, dataset: { tip } } = button;
    button.dataset.before = "1"; // and not pressed again while it tells
    let told = "Copied";
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      told = "Select and copy it";
    }
    const use = find("use", button);
    if (use && told === "Copied") use.setAttribute("href", use.getAttribute("href").replace(/#.*/, "#check"));
    (find("span", button) ?? button).textContent = told;
    if (tip) button.dataset.tip = told;
    setTimeout(() => {
      button.innerHTML = innerHTML;
      if (tip) button.dataset.tip = tip;
      delete button.dataset.before;
    }, 1600);
  });
})();
