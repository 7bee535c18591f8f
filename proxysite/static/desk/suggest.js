// Suggestions for fields with a list: the first names that begin with what is typed.
// A form with data-suggest="/address" answers ?field=NAME&q=TEXT with {"names": […]}.

const PAUSE_MS = 150;
const timers = new WeakMap();

const suggest = async (field, address) => {
  const text = field.value.trim();
  const list = field.list;
  if (!text || !list) return;
  const answer = await fetch(`${address}?${new URLSearchParams({ field: field.name, q: text })}`);
  if (!answer.ok || field.value.trim() !== text) return;
  const { names } = await answer.json();
  list.replaceChildren(...names.map((name) => {
    const option = document.createElement("option");
    option.value = name;
    return option;
  }));
};

for (const form of document.querySelectorAll("form[data-suggest]")) {
  form.addEventListener("input", ({ target }) => {
    if (!target.list) return;
    clearTimeout(timers.get(target));
    timers.set(target, setTimeout(() => suggest(target, form.dataset.suggest), PAUSE_MS));
  });
  // fields that were left empty stay out of the address
  form.addEventListener("formdata", ({ formData }) => {
    for (const [name, value] of [...formData]) if (value === "") formData.delete(name);
  });
}
