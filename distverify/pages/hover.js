for (const figure of document.querySelectorAll("figure[data-curves]")) {
  const told = JSON.parse(figure.dataset.curves), svg = figure.querySelector("svg");
  const shown = document.createElement("output");
  shown.className = "hover";
  shown.textContent = "\u00a0";
  svg.after(shown);
  const scale = ([low, high, log], share) => (log ? low * (high / low) ** share : low + (high - low) * share);
  const at = (curve, x) => {
    const { xs, ys, step } = curve;
    if (x < xs[0] || x > xs[xs.length - 1]) return null;
    let k = xs.findIndex(other => other >= x);
    if (step === "pre" || xs[k] === x || k === 0) return ys[k];
    if (step === "post") return ys[k - 1];
    return ys[k - 1] + ((ys[k] - ys[k - 1]) * (x - xs[k - 1])) / (xs[k] - xs[k - 1]);
  };
  const write = (value, percent) => (percent ? `${(100 * value).toFixed(1)}%` : String(Number(value.toPrecision(4))));
  svg.addEventListener("pointermove", event => {
    const place = svg.getBoundingClientRect();
    const px = ((event.clientX - place.left) / place.width) * told.width;
    const py = ((event.clientY - place.top) / place.height) * told.height;
    const axes = told.axes.find(({ box: [left, top, width, height] }) =>
      px >= left && px <= left + width && py >= top && py <= top + height);
    if (!axes) { shown.textContent = "\u00a0"; return; }
    const x = scale(axes.x, (px - axes.box[0]) / axes.box[2]);
    const values = axes.curves.map(curve => [curve.label, at(curve, x)]).filter(([, y]) => y !== null);
    shown.textContent = `${axes.name} ${write(x, false)}: ` +
      (values.map(([label, y]) => `${label} ${write(y, axes.percent)}`).join(", ") || "no value");
  });
  svg.addEventListener("pointerleave", () => { shown.textContent = "\u00a0"; });
}
