// A figure opens large; arrows lead to the next one, Escape closes.
{
  const box = document.querySelector(".lightbox");
  const [image, title] = [box.querySelector("img"), box.querySelector(".title")];
  const links = [...document.querySelectorAll("a.zoom")];
  let current = 0;
  const show = (place) => {
    current = (place + links.length) % links.length;
    const link = links[current];
    const shown = [...link.querySelectorAll("img")].find((each) => each.offsetParent) || link.querySelector("img");
    image.src = shown.src;
    image.alt = shown.alt;
    title.textContent = link.closest("figure").querySelector("figcaption strong").textContent;
  };
  links.forEach((link, place) => link.addEventListener("click", (event) => {
    event.preventDefault();
    show(place);
    box.showModal();
  }));
  box.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) { event.preventDefault(); show(current + step); }
  });
  box.addEventListener("click", (event) => {
    const { step, close } = event.target.dataset;
    if (step) show(current + Number(step));
    if (close !== undefined || event.target === box) box.close();
  });
  box.addEventListener("close", () => links[current].focus());
}
