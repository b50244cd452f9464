// A filter for the runs; all seeds of the setting that a number led to are marked.
{
  const filter = document.querySelector(".filter");
  const [input, status] = [filter.querySelector("input"), filter.querySelector("[role=status]")];
  const rows = [...document.querySelectorAll("#table-experiments tbody tr")];
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase().replace(/\s+/g, " ")]));
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !words.every((word) => texts.get(row).includes(word));
      shown += !row.hidden;
    }
    status.textContent = words.length ? `${shown} of ${rows.length} runs` : "";
  };
  filter.hidden = false;
  input.addEventListener("input", apply);

  const choose = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const row = target?.closest("#table-experiments tbody tr");
    for (const each of rows) each.classList.toggle("chosen", target?.tagName === "TH" && each.dataset.setting === target.id);
    if (row?.hidden) { input.value = ""; apply(); target.scrollIntoView(); }
  };
  window.addEventListener("hashchange", choose);
  choose();
}
