"use strict";
// Tables that can be sorted and filtered. Without this script they are plain tables, and nothing else is lost.
{
  const numberIn = (text) => {
    const found = /^[+-]?\d[\d,]*(\.\d+)?/.exec(text);
    return found ? Number(found[0].replaceAll(",", "")) : null;
  };
  const words = new Intl.Collator("en", { numeric: true });

  // Cells without a number ("-", "not run") come last either way; equal cells stay in the order of the report.
  const sort = (table, column, direction) => {
    const isText = table.tHead.rows[0].cells[column].classList.contains("text");
    const value = (row) => row.cells[column].textContent.trim();
    const compare = (a, b) => {
      if (isText) return direction * words.compare(value(a), value(b));
      const [x, y] = [numberIn(value(a)), numberIn(value(b))];
      if (x === null || y === null) return (x === null) - (y === null);
      return direction * (x - y);
    };
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((a, b) => a.dataset.place - b.dataset.place);
    body.append(...rows.sort(compare));
  };

  const sortable = (table) => {
    [...table.tBodies[0].rows].forEach((row, place) => { row.dataset.place = place; });
    const headers = [...table.tHead.rows[0].cells];
    headers.forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        // Numbers begin with the highest, words with the first.
        const first = header.classList.contains("text") ? "ascending" : "descending";
        const other = first === "ascending" ? "descending" : "ascending";
        const next = header.getAttribute("aria-sort") === first ? other : first;
        headers.forEach((each) => each.removeAttribute("aria-sort"));
        header.setAttribute("aria-sort", next);
        sort(table, column, next === "ascending" ? 1 : -1);
      });
    });
  };

  const filterable = (box, table) => {
    const label = document.createElement("label");
    const input = document.createElement("input");
    const count = document.createElement("span");
    label.className = "filter";
    input.type = "search";
    count.setAttribute("role", "status");
    label.append("Rows with", input, " ", count);
    input.addEventListener("input", () => {
      const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      const rows = [...table.tBodies[0].rows];
      for (const row of rows) {
        const cells = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
        row.hidden = !wanted.every((word) => cells.includes(word));
      }
      const shown = rows.filter((row) => !row.hidden).length;
      count.textContent = wanted.length ? `${shown} of ${rows.length}` : "";
    });
    box.prepend(label);
  };

  for (const box of document.querySelectorAll(".table")) {
    const table = box.querySelector("table");
    if (table.tBodies[0].rows.length > 1) sortable(table);
    if (table.tBodies[0].rows.length > 5) filterable(box, table);
  }
}
