// Draws the page's figures in the reader's colours, and zooms all charts with the same axis together.
// A live page hands new figures to `prorl.show`; a static one has them in its document.
const prorl = (() => {
  "use strict";
  let figures = [];
  const zooms = {}; // title of the horizontal axis to the range that the reader chose
  const property = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const allPlots = () => [...document.querySelectorAll("[data-figure]")];
  const figureOf = (plot) => figures[Number(plot.dataset.figure)];
  const axisOf = (figure) => figure.layout.xaxis.title.text;

  // Figures name colours as "var(--name)".
  function resolved(value) {
    if (typeof value === "string") {
      const match = /^var\((--[a-z0-9-]+)\)$/.exec(value);
      return match ? property(match[1]) : value;
    }
    if (Array.isArray(value)) return value.map(resolved);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolved(item)]));
    }
    return value;
  }

  function themed(layout) {
    const axis = {
      gridcolor: property("--grid"), zerolinecolor: property("--grid"), linecolor: property("--line"),
      tickcolor: property("--line"), automargin: true, nticks: 8,
    };
    return {
      ...layout,
      autosize: true,
      margin: { l: 52, r: 14, t: 18, b: 40 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: property("--font"), size: 12, color: property("--muted") },
      hoverlabel: { bgcolor: property("--raised"), bordercolor: property("--line"),
                    font: { color: property("--ink"), size: 12 }, align: "left" },
      xaxis: { ...axis, ...layout.xaxis, showgrid: false, showline: true, ticks: "outside", ticklen: 4,
               title: { ...layout.xaxis.title, font: { size: 12 }, standoff: 6 }, showspikes: false },
      yaxis: { ...axis, ...layout.yaxis, nticks: 6, title: { ...layout.yaxis.title, font: { size: 12 }, standoff: 8 } },
    };
  }

  async function draw(plot) {
    const figure = figureOf(plot);
    const isNew = !plot.layout;
    const layout = themed(figure.layout);
    const zoom = zooms[axisOf(figure)];
    if (zoom) layout.xaxis.range = [...zoom];
    await Plotly.react(plot, resolved(figure.data), layout, { displayModeBar: false, responsive: true, doubleClick: false });
    if (isNew) {
      plot.on("plotly_relayout", (change) => zoomed(plot, change));
      plot.on("plotly_doubleclick", () => zoomAll(plot, null));
    }
  }

  function zoomed(plot, change) {
    const low = change["xaxis.range[0]"], high = change["xaxis.range[1]"];
    if (low !== undefined && high !== undefined) zoomAll(plot, [low, high]);
  }

  async function zoomAll(origin, range) {
    const axis = axisOf(figureOf(origin));
    if (range) zooms[axis] = range;
    else delete zooms[axis];
    for (const plot of allPlots()) if (axisOf(figureOf(plot)) === axis) await draw(plot);
  }

  async function drawAll() {
    for (const plot of allPlots()) await draw(plot);
    document.documentElement.dataset.drawn = "true";
  }

  function show(newFigures) {
    figures = newFigures;
    return drawAll();
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-unfold]");
    if (!button) return;
    const parts = [...document.getElementById(button.dataset.unfold).querySelectorAll("details")];
    const open = parts.some((part) => !part.open);
    for (const part of parts) part.open = open;
  });
  show(JSON.parse(document.getElementById("figures").textContent));
  return { show };
})();
