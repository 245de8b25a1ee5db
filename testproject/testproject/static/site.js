// Send both slow forms at the same moment, then show what the session holds.
const both = document.getElementById("both");
both.hidden = false;
both.addEventListener("click", async () => {
  both.disabled = true;
  both.textContent = both.dataset.busy;
  const forms = [...document.querySelectorAll("form.slow")];
  await Promise.allSettled(
    forms.map((form) =>
      fetch(form.action, { method: "POST", body: new FormData(form), redirect: "manual" }),
    ),
  );
  location.reload();
});
