// The pages that import and export tokens: a file is dropped on the form; the fields of a passphrase
// are shown only for the form of an export that needs one. Without this script all of it works, too.

const file = document.querySelector("#import-file");
if (file) {
  const form = file.form;
  for (const name of ["dragenter", "dragover"]) {
    form.addEventListener(name, (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      form.classList.add("is-drop-target");
    });
  }
  form.addEventListener("dragleave", () => form.classList.remove("is-drop-target"));
  form.addEventListener("drop", (event) => {
    form.classList.remove("is-drop-target");
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    file.files = event.dataTransfer.files;
  });
}

const passphrases = document.querySelector("#export-passphrases");
if (passphrases) {
  const show = () => {
    passphrases.hidden = document.querySelector("input[name=form]:checked")?.value !== "bundle";
  };
  document.querySelectorAll("input[name=form]").forEach((radio) => radio.addEventListener("change", show));
  show();
}
