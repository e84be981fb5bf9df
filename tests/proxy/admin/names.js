// What of a page has no name for a screen reader, or is there twice.
() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const ids = all("[id]").map((one) => one.id);
  const named = (one) => one.getAttribute("aria-label") || document.getElementById(one.getAttribute("aria-labelledby"));
  const shown = (many) => many.map((one) => one.outerHTML.slice(0, 80));
  return {
    mains: all("main").length,
    firsts: all("h1").length,
    unlabelled: shown(all("input:not([type=hidden], [hidden]), select").filter((one) => !one.labels.length)),
    unnamed: shown(all("table, nav, section").filter((one) => !named(one))),
    scopeless: shown(all("th").filter((one) => !one.scope)),
    twice: ids.filter((id, place) => ids.indexOf(id) !== place),
    empty: shown(all("a, button").filter((one) => !(one.textContent.trim() || named(one)))),
  };
}
