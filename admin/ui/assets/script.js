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

// Live follows: the list is asked for anew while the page is looked at, and
// nobody reads in it.
async function follow() {
  const list = document.getElementById("live");
  if (!document.hidden && !list.contains(document.activeElement)) {
    const answer = await fetch(location.href, {headers: {Accept: "text/html"}});
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = page.getElementById("live");
    if (!answer.ok || !next) return location.reload(); // the session ended
    list.replaceWith(next);
  }
  setTimeout(retry, 2000);
}
function retry() {
  follow().catch(() => setTimeout(retry, 5000)); // lictor is away for a moment
}
if (document.getElementById("live")) setTimeout(retry, 2000);
