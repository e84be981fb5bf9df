// Replaces the parts of the overview that changed. The page works without it: it shows what was when it was loaded.
"use strict";

(() => {
  const news = document.getElementById("news");
  if (news && news.textContent) {
    // Screen readers tell what is put into a status, not what was in it when the page came.
    const text = news.textContent;
    news.textContent = "";
    setTimeout(() => tell(text), 150);
  }
  const live = document.getElementById("live");
  if (!live) return;
  const pause = document.getElementById("pause");
  const EVERY = 2000; // milliseconds
  const PATIENCE = 10000;
  let paused = false;
  let lost = false;
  let told = alarmIn(live);

  function alarmIn(root) {
    const alarm = root.querySelector("[data-alarm]");
    return alarm ? [...alarm.children].map((line) => line.textContent.replace(/ Asked again.*/, "").trim()).join(" ") : "";
  }

  // Screen readers hear of what changes for the worse or the better, not of every figure.
  function tell(text, seen = true) {
    news.textContent = text;
    news.className = text && (seen ? "news" : "unseen");
  }

  function replace(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    const alarm = alarmIn(fresh); // read first: parts that are put into this page leave `fresh`
    for (const part of live.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(part.id);
      // A part in which the keyboard or a selection is stays as it is until it is left.
      const selection = document.getSelection();
      const inUse = part.contains(document.activeElement) || (selection && !selection.isCollapsed && part.contains(selection.anchorNode));
      if (next && !inUse && next.innerHTML !== part.innerHTML) part.replaceWith(document.adoptNode(next));
    }
    if (alarm !== told) {
      if (alarm) tell(alarm, false); // the eye has the alarm itself
      else tell("All is well again.");
      told = alarm;
    }
  }

  async function refresh() {
    if (!paused && !document.hidden) {
      try {
        const answer = await fetch(live.dataset.url, { signal: AbortSignal.timeout(PATIENCE), redirect: "error" });
        if (answer.status === 401) {
          location.assign("/login");
          return;
        }
        if (!answer.ok) throw new Error(String(answer.status));
        replace(await answer.text());
        if (lost) tell("The gateway answers again.");
        lost = false;
      } catch {
        if (!lost) tell("The gateway does not answer: these figures are old.");
        lost = true;
      }
    }
    setTimeout(refresh, EVERY);
  }

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
  });
  setTimeout(refresh, EVERY);
})();
