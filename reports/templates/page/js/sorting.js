// A press of a header sorts by its column: up, down, and as it was. Missing values stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  if (rows.length < 2) continue;
  const words = new Intl.Collator("en", { numeric: true });
  const next = { none: "ascending", ascending: "descending", descending: "none" };

  const compare = (column, sign) => {
    const cells = new Map(rows.map((row) => [row, row.cells[column]]));
    const numeric = rows.some((row) => cells.get(row).dataset.value);
    const key = (row) => {
      const { dataset, textContent } = cells.get(row);
      if (!numeric) return textContent.trim();
      return dataset.value ? Number(dataset.value) : null;
    };
    return (one, two) => {
      const [first, second] = [key(one), key(two)];
      if (first === null || second === null) return (first === null) - (second === null);
      return sign * (numeric ? first - second : words.compare(first, second));
    };
  };

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const order = next[head.getAttribute("aria-sort")];
      for (const each of heads) each.setAttribute("aria-sort", each === head ? order : "none");
      const sorted = [...rows];
      if (order !== "none") sorted.sort(compare(column, order === "ascending" ? 1 : -1));
      body.append(...sorted);
    });
  });
}
