"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);

  // Charts. Their colours are the page's, light or dark.
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const paint = () => {
    const ink = colour("--muted"), rule = colour("--rule");
    for (const chart of Bokeh.documents) {
      for (const root of chart.roots()) {
        for (const model of root.references()) {
          if (model.type === "LinearAxis") {
            model.setv({
              axis_label_text_color: ink, major_label_text_color: ink,
              axis_line_color: rule, major_tick_line_color: rule,
            });
          } else if (model.type === "Grid") {
            model.setv({ grid_line_color: rule });
          } else if (model.type === "Span" && model.name === "ink") {
            model.setv({ line_color: colour("--ink") });
          }
        }
      }
    }
  };
  const drawn = Object.entries(data.charts).map(([key, item]) => Bokeh.embed.embed_item(item, key));
  Promise.all(drawn).then(() => {
    paint();
    document.documentElement.dataset.charts = "drawn";
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);

  // The slider through the training: every run shows its last grid at or before the point.
  const slider = document.getElementById("slider");
  if (!slider) return;
  const button = document.getElementById("play"), shown = document.getElementById("shown");
  const points = [...new Set(data.training.flat().map((frame) => frame.images))];
  points.sort((one, other) => one - other);
  const words = (count) => count.toLocaleString("en-US");
  const show = () => {
    const point = points[slider.valueAsNumber];
    shown.value = `${words(point)} images shown`;
    slider.setAttribute("aria-valuetext", shown.value);
    data.training.forEach((frames, run) => {
      const picture = document.getElementById(`frame-${run}`);
      if (!picture) return;
      const frame = frames.findLast((each) => each.images <= point) ?? frames[0];
      if (picture.src !== frame.source) picture.src = frame.source;
      const start = picture.alt.slice(0, picture.alt.lastIndexOf("after "));
      picture.alt = `${start}after ${words(frame.images)} real images shown.`;
      const caption = document.getElementById(`caption-${run}`);
      if (caption) caption.textContent = `after ${words(frame.images)} images`;
    });
  };
  let timer = 0;
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    button.textContent = "Play";
    button.setAttribute("aria-label", "Play the training");
  };
  const step = () => {
    if (slider.valueAsNumber >= points.length - 1) return stop();
    slider.value = slider.valueAsNumber + 1;
    show();
  };
  button.addEventListener("click", () => {
    if (timer) return stop();
    if (slider.valueAsNumber >= points.length - 1) slider.value = 0;
    show();
    timer = setInterval(step, 300);
    button.textContent = "Pause";
    button.setAttribute("aria-label", "Pause the training");
  });
  slider.addEventListener("input", () => {
    stop();
    show();
  });
  slider.setAttribute("aria-valuetext", shown.value);
})();
