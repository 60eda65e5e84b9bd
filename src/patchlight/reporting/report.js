"use strict";
// A header sorts its table: the better end first, then the other way. What has no value stays last.
for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const compare = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    if (!Number.isNaN(x) && !Number.isNaN(y)) return x === y ? 0 : x < y ? -1 : 1;
    if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
    return a.localeCompare(b, undefined, { numeric: true });
  };
  const value = (row, i) => row.cells[i].dataset.sort ?? row.cells[i].textContent.trim();
  headers.forEach((header, i) => {
    header.querySelector("button")?.addEventListener("click", () => {
      const sorted = header.getAttribute("aria-sort");
      const other = sorted === "ascending" ? "descending" : "ascending";
      const order = sorted === "none" ? header.dataset.first : other;
      headers.forEach((h) => h.hasAttribute("aria-sort") && h.setAttribute("aria-sort", "none"));
      header.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...body.rows].sort((p, q) => {
        const [a, b] = [value(p, i), value(q, i)];
        if (a === "" || b === "") return (a === "") - (b === "");
        return sign * compare(a, b);
      });
      body.append(...rows);
    });
  });
}

// One choice for all curves: what they are drawn over.
for (const input of document.querySelectorAll(".axes input")) {
  input.addEventListener("change", () => {
    for (const plot of document.querySelectorAll("[data-axis]")) plot.hidden = plot.dataset.axis !== input.value;
    for (const other of document.querySelectorAll(".axes input")) other.checked = other.value === input.value;
  });
}

// A copy button takes the text beside it, or that of the element it names; where a browser forbids it, it selects it.
for (const button of document.querySelectorAll("button.copy")) {
  const label = button.textContent;
  const source = document.getElementById(button.dataset.copies) ?? button.previousElementSibling;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      source.hidden = false;
      getSelection().selectAllChildren(source);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = label; }, 1500);
  });
}
