// The few things that HTML alone cannot do; every page works without this file.

// A session that ended answers 401 with HX-Redirect, which htmx follows; an error page replaces nothing but tells.
document.addEventListener("htmx:response:error", (event) => {
  const status = event.detail.ctx?.response?.status;
  if (status === 429) announce("Too many requests. Wait a moment, then try again.");
  else if (status >= 500) announce("The server had trouble with that. Try again in a moment.");
});

function announce(text) {
  const main = document.getElementById("content");
  let notice = document.getElementById("announcement");
  if (!notice) {
    notice = document.createElement("p");
    notice.id = "announcement";
    notice.className = "notice notice-bad";
    notice.setAttribute("role", "alert");
    main.prepend(notice);
  }
  notice.textContent = text;
}
