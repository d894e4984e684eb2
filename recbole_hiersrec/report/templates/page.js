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

  // Headers become buttons. Returned: what sorts by a column, "ascending" or "descending", and says so in its header.
  const sortable = (table) => {
    [...table.tBodies[0].rows].forEach((row, place) => { row.dataset.place = place; });
    const headers = [...table.tHead.rows[0].cells];
    const sortBy = (column, order) => {
      headers.forEach((each) => each.removeAttribute("aria-sort"));
      headers[column].setAttribute("aria-sort", order);
      sort(table, column, order === "ascending" ? 1 : -1);
    };
    headers.forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        // Numbers begin with the highest, words with the first.
        const first = header.classList.contains("text") ? "ascending" : "descending";
        const other = first === "ascending" ? "descending" : "ascending";
        sortBy(column, header.getAttribute("aria-sort") === first ? other : first);
      });
    });
    return sortBy;
  };

  const labelled = (text, control) => {
    const label = document.createElement("label");
    label.className = "filter";
    label.append(text, control);
    return label;
  };

  const select = (options) => {
    const control = document.createElement("select");
    control.append(...options.map(([value, text]) => new Option(text, value)));
    return control;
  };

  // Rows with all the words, and with the chosen value in each column that offers a choice.
  const filterable = (box, table) => {
    const rows = [...table.tBodies[0].rows];
    const headers = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
    const cell = (row, column) => row.cells[column].textContent.trim();
    const count = document.createElement("span");
    const input = document.createElement("input");
    input.type = "search";
    count.setAttribute("role", "status");
    const choices = JSON.parse(box.dataset.choices ?? "[]").map((name) => {
      const column = headers.indexOf(name);
      const values = [...new Set(rows.map((row) => cell(row, column)))].sort(words.compare);
      return [column, select([["", "any"], ...values.map((value) => [value, value])]), name];
    });
    const apply = () => {
      const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) {
        const text = [...row.cells].map((one) => one.textContent).join(" ").toLowerCase();
        row.hidden = !wanted.every((word) => text.includes(word))
          || choices.some(([column, control]) => control.value && cell(row, column) !== control.value);
      }
      const shown = rows.filter((row) => !row.hidden).length;
      count.textContent = shown < rows.length ? `${shown} of ${rows.length}` : "";
    };
    const filters = document.createElement("div");
    filters.className = "filters";
    for (const [, control, name] of choices) {
      control.addEventListener("change", apply);
      filters.append(labelled(name, control));
    }
    input.addEventListener("input", apply);
    filters.append(labelled("Rows with", input), count);
    box.prepend(filters);
    return filters;
  };

  // One column of several: the others are hidden, and the rows sorted by the one that was chosen, the best first.
  const oneOf = (filters, table, names, sortBy) => {
    const headers = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
    const control = select(names.map((name) => [name, name]));
    const apply = () => {
      for (const name of names) {
        const column = headers.indexOf(name);
        for (const row of table.rows) row.cells[column].hidden = name !== control.value;
      }
    };
    control.addEventListener("change", () => {
      apply();
      sortBy?.(headers.indexOf(control.value), "descending");
    });
    filters.prepend(labelled("metric", control));
    apply();
  };

  for (const box of document.querySelectorAll(".table")) {
    const table = box.querySelector("table");
    const metrics = JSON.parse(box.dataset.metrics ?? "[]");
    const filters = table.tBodies[0].rows.length > 5 || metrics.length ? filterable(box, table) : null;
    const sortBy = table.tBodies[0].rows.length > 1 ? sortable(table) : null;
    if (metrics.length) oneOf(filters, table, metrics, sortBy);
  }

  // Without this script a row's details open by their address.
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    const dialog = link && document.getElementById(link.hash.slice(1));
    if (dialog instanceof HTMLDialogElement) {
      event.preventDefault();
      dialog.showModal();
    } else if (link?.classList.contains("close")) {
      const open = link.closest("dialog");
      if (open.matches(":modal")) event.preventDefault();
      open.close();
    }
  });
}
