// The current section is marked, and the theme can be changed.
{
  const nav = document.querySelector("nav");
  const links = [...nav.querySelectorAll("a")];
  const targets = links.map((link) => document.getElementById(link.hash.slice(1)));
  let current = null;
  const mark = () => {
    const line = window.innerHeight / 4;
    let last = 0;
    targets.forEach((target, place) => { if (target.getBoundingClientRect().top <= line) last = place; });
    const end = window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 2;
    if (end && window.scrollY > 0) last = links.length - 1;
    // In the strip of a narrow window only sections are shown.
    let link = links[last];
    if (!link.offsetParent) link = link.closest("ul").closest("li").querySelector("a");
    if (link === current) return;
    current?.removeAttribute("aria-current");
    link.setAttribute("aria-current", "location");
    current = link;
    const [inner, outer] = [link.getBoundingClientRect(), nav.getBoundingClientRect()];
    if (inner.left < outer.left || inner.right > outer.right) nav.scrollLeft += inner.left - outer.left - 40;
    if (inner.top < outer.top || inner.bottom > outer.bottom) nav.scrollTop += inner.top - outer.top - 80;
  };
  let waiting = false;
  const soon = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; mark(); });
  };
  for (const event of ["scroll", "resize"]) window.addEventListener(event, soon, { passive: true });
  mark();

  const root = document.documentElement;
  const button = nav.querySelector(".theme");
  const themes = ["system", "light", "dark"];
  const show = () => { button.textContent = `Theme: ${root.dataset.theme}`; };
  root.dataset.theme ||= "system";
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = themes[(themes.indexOf(root.dataset.theme) + 1) % themes.length];
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* not kept */ }
    show();
  });
  show();
}
