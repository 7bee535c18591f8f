// The form of an API key: ticking a model chooses "Only these", and the list is dimmed for "Every model".
const list = document.getElementById("id_allowed_models");
const patterns = document.getElementById("id_model_patterns");
const choices = Array.from(document.querySelectorAll('input[name="model_choice"]'));

function showChoice() {
  const chosen = choices.find((choice) => choice.checked);
  const everyModel = chosen !== undefined && chosen.value === "all";
  const box = list.closest(".model-list");
  if (box) box.classList.toggle("is-unused", everyModel);
}

function choose(value) {
  for (const choice of choices) choice.checked = choice.value === value;
  showChoice();
}

if (list && choices.length) {
  for (const choice of choices) choice.addEventListener("change", showChoice);
  list.addEventListener("change", () => choose("chosen"));
  if (patterns) patterns.addEventListener("input", () => choose("chosen"));
  showChoice();
}
