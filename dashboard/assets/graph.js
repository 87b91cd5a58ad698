// The execution graph that the API drew, its states made buttons. data: {svg, selected, about}
export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const place = parentElement.querySelector(".place");
  const whole = parentElement.querySelector(".whole");
  const focused = place.getRootNode().activeElement?.dataset?.state;
  const first = !place.firstChild;
  if (place.drawn !== data.svg) {
    const parsed = new DOMParser().parseFromString(data.svg, "image/svg+xml").documentElement;
    const svg = document.importNode(parsed, true);
    svg.setAttribute("role", "group");
    svg.style.maxWidth = "";
    place.replaceChildren(svg);
    place.drawn = data.svg;
    // its header says what the page says above it
    const header = svg.querySelector(":scope > g");
    if (header && !header.querySelector(".state")) {
      const [x, y, width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
      const cut = Math.ceil(header.getBBox().y + header.getBBox().height) + 1; // its rule as well
      svg.setAttribute("viewBox", `${x} ${y + cut} ${width} ${height - cut}`);
      svg.setAttribute("height", height - cut);
    }
    for (const state of svg.querySelectorAll("g.state")) {
      state.setAttribute("tabindex", "0");
      state.setAttribute("role", "button");
      state.setAttribute("aria-label", state.querySelector("title").textContent.split("\n").slice(0, 2).join(", "));
      const choose = (event) => {
        event.preventDefault();
        event.stopPropagation();
        setTriggerValue("state", state.dataset.state);
      };
      state.onclick = choose;
      state.onkeydown = (event) => {
        if (event.key === "Enter" || event.key === " ") choose(event);
      };
    }
  }
  const states = [...place.querySelectorAll("g.state")];
  for (const state of states) {
    const selected = state.dataset.state === data.selected;
    state.setAttribute("aria-pressed", selected);
    state.classList.toggle("selected", selected);
  }
  const fit = (is) => {
    place.classList.toggle("fit", is);
    whole.setAttribute("aria-pressed", is);
    whole.textContent = is ? "Actual size" : "Whole graph";
  };
  whole.onclick = () => {
    fit(!place.classList.contains("fit"));
    if (!place.classList.contains("fit")) centre();
  };
  const centre = () => {
    const wanted =
      states.find((state) => state.dataset.state === data.selected) ||
      states.find((state) => state.dataset.status === "failed") ||
      states.findLast((state) => state.dataset.status === "running") ||
      states[0];
    if (!wanted) return;
    const box = wanted.getBoundingClientRect();
    const frame = place.getBoundingClientRect();
    place.scrollLeft += box.left + box.width / 2 - frame.left - frame.width / 2;
    place.scrollTop += box.top - frame.top - 110;
  };
  if (first) {
    fit(false);
    requestAnimationFrame(centre);
  }
  if (focused) states.find((state) => state.dataset.state === focused)?.focus({ preventScroll: true });
}
