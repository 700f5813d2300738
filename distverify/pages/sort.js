for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const value = (row, k) => {
    const text = row.cells[k].textContent;
    const number = text === "inf" ? Infinity : Number(text.replaceAll(",", ""));
    return Number.isNaN(number) ? text : number;
  };
  const compare = (a, b) => {
    if (a === "-" || b === "-") return (a === "-") - (b === "-");
    return typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1;
  };
  heads.forEach((head, k) => {
    const button = document.createElement("button");
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].map(row => [value(row, k), row]);
      rows.sort(([a], [b]) => (a === "-" || b === "-" ? compare(a, b) : down ? compare(b, a) : compare(a, b)));
      body.replaceChildren(...rows.map(([, row]) => row));
    });
  });
  const search = document.createElement("input");
  search.type = "search";
  search.placeholder = "only rows with ...";
  search.setAttribute("aria-label", "only rows that hold this text");
  search.addEventListener("input", () => {
    for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(search.value.toLowerCase());
  });
  table.parentElement.before(search);
}
