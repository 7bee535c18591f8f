// Names for the fields that Django's admin leaves without one: the parts of a date with its time,
// the cells of a table of forms, and the boxes that select2 puts in the place of a select.

const nameFields = () => {
  for (const part of document.querySelectorAll(".datetime input, .vDateField, .vTimeField")) {
    const label = part.closest(".form-row, .flex-container, td")?.querySelector("label, legend");
    const name = label?.textContent.trim() ?? part.name;
    if (!part.labels?.length) part.setAttribute("aria-label", part.classList.contains("vTimeField") ? `${name} (time)` : name);
  }
  for (const field of document.querySelectorAll(".tabular td :is(input:not([type=hidden]), select, textarea)")) {
    const name = field.name.replace(/^.*-/, "");
    const column = field.closest("table")?.querySelector(`th.column-${CSS.escape(name)}`);
    if (!field.getAttribute("aria-label")) field.setAttribute("aria-label", column?.textContent.trim() ?? name);
  }
  for (const hint of document.querySelectorAll("span.help-tooltip[aria-label]")) hint.setAttribute("role", "img");
  for (const box of document.querySelectorAll(".select2-selection")) {
    const select = box.closest(".select2")?.previousElementSibling;
    const name = select?.labels?.[0]?.textContent.trim() ?? select?.name;
    if (!name) continue;
    box.setAttribute("aria-label", name);
    box.removeAttribute("aria-labelledby");
    box.querySelector(".select2-selection__rendered")?.setAttribute("aria-label", name);
  }
};

// select2 makes its boxes after the page is there, and again for each new line of an inline
new MutationObserver(nameFields).observe(document.body, { childList: true, subtree: true });
nameFields();
