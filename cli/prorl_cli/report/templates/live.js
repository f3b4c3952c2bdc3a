// Keeps a live page up to date: asks its own origin, with the session's token, what the parts of the page are now.
(() => {
  "use strict";
  const SECONDS_WHEN_AWAY = 3;
  const status = document.getElementById("connection");
  const ask = document.getElementById("ask");
  const kept = "prorl-token";
  let revision = "";
  let timer = 0;
  let shown = {}; // part to the HTML that it was last given

  // The token comes behind the #, which no browser sends anywhere; it leaves the address line at once.
  const given = /^#token=([A-Za-z0-9_-]+)$/.exec(location.hash);
  if (given) {
    sessionStorage.setItem(kept, given[1]);
    history.replaceState(null, "", location.pathname);
  }

  function say(text, kind) {
    status.textContent = text;
    status.className = `connection ${kind}`;
  }

  function call(path, options = {}) {
    const headers = { Authorization: `Bearer ${sessionStorage.getItem(kept) || ""}`, "Content-Type": "application/json" };
    return fetch(path, { ...options, headers, cache: "no-store", redirect: "error" });
  }

  async function look() {
    clearTimeout(timer);
    let wait = SECONDS_WHEN_AWAY;
    try {
      const answer = await call(`/v1/page?revision=${encodeURIComponent(revision)}`);
      if (answer.status === 401) return askForToken();
      if (!answer.ok) throw new Error((await answer.json()).error.message);
      const page = await answer.json();
      wait = page.next_look_seconds;
      ask.hidden = true;
      if (page.content) await show(page.content);
      revision = page.revision;
      say(page.is_driven === false ? "Nothing drives this run now; if it is started again, this page goes on."
                                   : `Live, looked at ${new Date().toLocaleTimeString()}.`, "");
    } catch (error) {
      const why = error instanceof TypeError ? "Whoever served this page has ended" : `The page cannot be read: ${error.message}`;
      say(`${why}. What you see is the last that was seen; it goes on when the same command runs again. ` +
          "`prorl watch RUN` shows a run that has ended.", "away");
    }
    timer = setTimeout(look, 1000 * wait);
  }

  function askForToken() {
    say("This token is not the session's, or there is none.", "wrong");
    ask.hidden = false;
  }

  async function show(content) {
    document.title = content.title;
    for (const [name, html] of Object.entries(content.parts)) {
      if (shown[name] !== html) replace(document.querySelector(`[data-part="${name}"]`), html);
    }
    shown = content.parts;
    await prorl.show(content.figures);
  }

  // What the reader opened stays open, and what was scrolled stays there; a log's end stays in sight.
  function replace(part, html) {
    const before = new Map([...part.querySelectorAll("[data-key]")].map((item) => [item.dataset.key, item]));
    const fresh = document.createElement("template");
    fresh.innerHTML = html; // made by templates that escape every text; the policy lets nothing in it run
    for (const item of fresh.content.querySelectorAll("details[data-key]")) {
      const old = before.get(item.dataset.key);
      if (old) item.open = old.open;
    }
    const places = [...before.values()].map((item) => [
      item.dataset.key, item.scrollTop, item.scrollTop + item.clientHeight >= item.scrollHeight - 4,
    ]);
    part.replaceChildren(fresh.content);
    for (const [key, top, isAtEnd] of places) {
      const item = [...part.querySelectorAll("[data-key]")].find((found) => found.dataset.key === key);
      if (item) item.scrollTop = isAtEnd ? item.scrollHeight : top;
    }
  }

  async function decide(button) {
    const { reset, decision } = button.dataset;
    if (!confirm(`${decision === "approve" ? "Approve" : "Veto"} ${reset}?`)) return;
    button.disabled = true;
    try {
      const body = JSON.stringify({ decision });
      const answer = await call(`/v1/resets/${encodeURIComponent(reset)}`, { method: "POST", body });
      const told = await answer.json();
      say(answer.ok ? told.message : told.error.message, answer.ok ? "" : "wrong");
    } catch (error) {
      say(`${reset} was not decided: ${error.message}`, "wrong");
    }
    button.disabled = false;
    timer = setTimeout(look, 1000);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-decision]");
    if (button) decide(button);
  });
  document.addEventListener("toggle", (event) => { // a log is read from its end
    const lines = event.target.open && event.target.querySelector("pre[data-key^=lines]");
    if (lines) lines.scrollTop = lines.scrollHeight;
  }, true);
  ask.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(kept, document.getElementById("token").value.trim());
    document.getElementById("token").value = "";
    look();
  });
  look();
})();
