// Comforts: every page but Live works without this.

// A button that copies a line.
for (const line of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break; // not over plain HTTP from another machine
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(line.textContent);
    button.textContent = "Copied";
  });
  line.after(button);
}
