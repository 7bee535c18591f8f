// Behaviour that every page shares; a page asks for it with attributes:
//
//   data-copy="#id"            a button that copies the text (or value) of an element
//   data-filter="#list"        a field that hides the rows of a list that lack its text
//   data-open="#dialog"        a button that opens a dialog; data-close closes the one around it
//   data-refresh="/path"       an element whose content is fetched again, every
//   data-refresh-seconds="2"   so many seconds while it has a child with data-refresh-again
//   data-submit-on-change      a field that sends its form
//   data-toggle-all="name"     a checkbox for all checkboxes of a name in its form
//   <time datetime data-relative>   a time that is shown as "5 minutes ago"

const rememberTimeZone = () => {
  // the server shows times in this zone from the next page on
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone) document.cookie = `timezone=${encodeURIComponent(zone)}; path=/; max-age=31536000; samesite=lax`;
};

const copyText = async (text) => {
  if (navigator.clipboard && window.isSecureContext) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // plain http on a local network has no clipboard API
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "visually-hidden";
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
};

const copyFrom = async (button) => {
  const source = document.querySelector(button.dataset.copy);
  if (!source) return;
  await copyText("value" in source ? source.value : source.textContent.trim());
  const label = button.dataset.label ?? button.textContent;
  button.dataset.label = label;
  button.textContent = button.dataset.copied ?? "✓";
  setTimeout(() => { button.textContent = label; }, 1500);
};

const filterList = (field) => {
  const list = document.querySelector(field.dataset.filter);
  const wanted = field.value.trim().toLowerCase();
  for (const row of list?.querySelectorAll("[data-filter-row], :scope > li, :scope > label, :scope > tr, :scope > div") ?? []) {
    row.hidden = !row.textContent.toLowerCase().includes(wanted);
  }
};

const refresh = async (element) => {
  const seconds = Number(element.dataset.refreshSeconds || 2);
  const later = () => setTimeout(() => refresh(element), seconds * 1000);
  if (document.hidden) return later();
  try {
    const answer = await fetch(element.dataset.refresh, { headers: { "x-requested-with": "fetch" } });
    if (answer.ok && !answer.redirected) element.innerHTML = await answer.text(); // our own template, escaped there
    else return undefined; // logged out, or gone: the page as it is stays
  } catch {
    return later();
  }
  prepare(element);
  return element.querySelector("[data-refresh-again]") ? later() : undefined;
};

const relativeSteps = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

const showRelativeTime = (time) => {
  const seconds = (new Date(time.dateTime) - Date.now()) / 1000;
  const [unit, length] = relativeSteps.find(([, size]) => Math.abs(seconds) >= size) ?? relativeSteps.at(-1);
  const format = new Intl.RelativeTimeFormat(document.documentElement.lang || "en", { numeric: "auto" });
  time.title ||= time.textContent;
  time.textContent = format.format(Math.round(seconds / length), unit);
};

function prepare(root) {
  // a part that scrolls must be reached by keyboard
  root.querySelectorAll(".table-wrap:not([tabindex]), .results:not([tabindex])").forEach((part) => {
    if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
  });
  root.querySelectorAll("time[data-relative]").forEach(showRelativeTime);
  root.querySelectorAll("[data-refresh]").forEach((element) => {
    setTimeout(() => refresh(element), Number(element.dataset.refreshSeconds || 2) * 1000);
  });
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy], [data-open], [data-close], .shell-menu");
  if (!button) return;
  if (button.dataset.copy) copyFrom(button);
  else if (button.dataset.open) document.querySelector(button.dataset.open)?.showModal();
  else if ("close" in button.dataset) button.closest("dialog")?.close();
  else {
    const isOpen = document.querySelector(".shell-sections").classList.toggle("is-open");
    button.setAttribute("aria-expanded", String(isOpen));
  }
});

document.addEventListener("input", (event) => {
  if (event.target.dataset?.filter) filterList(event.target);
});

document.addEventListener("change", (event) => {
  const field = event.target;
  if ("submitOnChange" in (field.dataset ?? {})) field.form.requestSubmit();
  if (field.dataset?.toggleAll) {
    field.form.querySelectorAll(`input[type=checkbox][name="${CSS.escape(field.dataset.toggleAll)}"]`)
      .forEach((box) => { if (!box.closest("[hidden]")) box.checked = field.checked; });
  }
});

rememberTimeZone();
document.documentElement.classList.remove("no-script");
prepare(document);
