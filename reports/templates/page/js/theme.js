// Before the first paint: the theme that the reader chose last time, if the browser keeps it.
try { document.documentElement.dataset.theme = localStorage.getItem("theme") || "system"; } catch { /* not kept */ }
