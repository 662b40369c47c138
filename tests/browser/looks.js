// What is wrong with how a page looks, as sentences; looks.page() of everything, looks.charts() of its charts alone.
window.looks = (() => {
  const ROOM = 1.5; // pixels that nobody sees
  const LINES = 'button, h1, h2, h3, label, a, [role="tab"], [data-testid="stMetricLabel"], [data-testid="stMetricValue"]';
  const WORDS = `${LINES}, [data-testid="stButtonGroup"]`;
  const FREE = '[data-testid="stDataFrame"], pre, .grid, .js-plotly-plot'; // these scroll, or are looked at by charts()

  const all = (root, what) => [...root.querySelectorAll(what)];
  const box = each => each.getBoundingClientRect();
  const there = each => box(each).width > 1 && box(each).height > 1 && each.checkVisibility({ visibilityProperty: true });
  const said = each => `“${(each.textContent || each.ariaLabel || each.className || "").trim().slice(0, 50)}”`;
  const over = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > ROOM && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > ROOM;

  function sideways(root) {
    return [document.documentElement, root].filter(each => each.scrollWidth > each.clientWidth + ROOM)
      .map(each => `the page is ${each.scrollWidth} pixels wide in a window of ${each.clientWidth}`);
  }

  // Boxes of the texts in something, without those of icons, whose names are texts too.
  function texts(root) {
    const found = [], nodes = document.createTreeWalker(root, NodeFilter.SHOW_TEXT), range = document.createRange();
    for (let node = nodes.nextNode(); node; node = nodes.nextNode()) {
      if (!node.data.trim() || node.parentElement.closest('[data-testid="stIconMaterial"], style') || !there(node.parentElement)) continue;
      range.selectNodeContents(node);
      found.push(...range.getClientRects());
    }
    return found;
  }

  function cut(root) {
    return all(root, WORDS).filter(each => !each.closest(FREE) && there(each)).flatMap(each => [each, ...all(each, "*")])
      .filter(each => there(each) && !each.closest("svg") && each.scrollWidth > each.clientWidth + ROOM)
      .filter(each => texts(each).some(text => text.right > box(each).right + ROOM || text.left < box(each).left - ROOM))
      .map(each => `${said(each)} needs ${each.scrollWidth} pixels and has ${each.clientWidth}`);
  }

  function broken(root) {
    const found = [], texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT), range = document.createRange();
    for (let text = texts.nextNode(); text; text = texts.nextNode()) {
      if (!text.parentElement || text.parentElement.closest(`${FREE}, style, script, code`) || !there(text.parentElement)) continue;
      for (const word of text.data.matchAll(/\p{L}{2,24}/gu)) {
        range.setStart(text, word.index);
        range.setEnd(text, word.index + word[0].length);
        if (new Set([...range.getClientRects()].map(each => Math.round(each.top))).size > 1) found.push(`“${word[0]}” is broken in ${said(text.parentElement)}`);
      }
    }
    return found;
  }

  function overlapping(root) {
    const icons = all(root, '[data-testid="stMetricLabel"]').flatMap(label => {
      const icon = label.querySelector('[data-testid="stTooltipIcon"]'), words = label.querySelector("p");
      return icon && words && there(label) ? [[words, icon]] : [];
    });
    const bars = all(root, '[class*="st-key-chart_"]').flatMap(chart => {
      const bar = chart.querySelector(".modebar"), save = chart.querySelector('[data-testid="stPopover"] button');
      return bar && save && there(save) ? [[bar, save]] : [];
    });
    return [...icons, ...bars].filter(([one, other]) => over(box(one), box(other))).map(([one, other]) => `${said(one)} lies over ${said(other)}`);
  }

  function charts() {
    return all(document, ".js-plotly-plot").filter(there).flatMap(chart => {
      const name = chart.closest('[class*="st-key-"]')?.className.match(/st-key-(\S+)/)?.[1] ?? chart.id;
      return [...ticks(chart), ...edges(chart), ...legend(chart)].map(each => `${name}: ${each}`);
    });
  }

  function ticks(chart) {
    return all(chart, ".xaxislayer-above, .xaxislayer-below, .yaxislayer-above, .yaxislayer-below").flatMap(axis => {
      const labels = all(axis, ".xtick text, .ytick text, .x2tick text, .y2tick text").filter(there);
      return labels.slice(1).flatMap((each, i) => over(box(labels[i]), box(each)) ? [`the labels ${said(labels[i])} and ${said(each)} touch`] : []);
    });
  }

  function edges(chart) {
    const frame = box(chart);
    return all(chart, ".xtitle, .ytitle, .textpoint text, .xtick text, .ytick text, .legendtext, .annotation-text, .cbtitle text").filter(there)
      .filter(each => box(each).left < frame.left - ROOM || box(each).right > frame.right + ROOM || box(each).top < frame.top - ROOM || box(each).bottom > frame.bottom + ROOM)
      .map(each => `${said(each)} is cut at the edge`);
  }

  function legend(chart) {
    const made = chart.querySelector(".legend"), plot = chart._fullLayout._size, top = box(chart).top + plot.t;
    if (!made || !there(made)) return [];
    const below = box(made).bottom > top + ROOM ? ["the legend lies over the plot"] : [];
    const others = all(chart, ".annotation-text, .modebar-group").filter(there).filter(each => over(box(made), box(each)));
    return [...below, ...others.map(each => `the legend lies over ${said(each)}`)];
  }

  function page() {
    const main = document.querySelector('[data-testid="stMain"]');
    return [...new Set([...sideways(main), ...cut(main), ...broken(main), ...overlapping(main), ...charts()])];
  }

  // When nothing has moved for some pictures: charts take a few of them to follow the window.
  function still(pictures = 8) {
    const shape = () => all(document, "body *").map(each => { const at = box(each); return `${at.x} ${at.y} ${at.width} ${at.height}` }).join();
    return new Promise(done => {
      let last = "", same = 0;
      const look = () => {
        const now = shape();
        same = now === last ? same + 1 : 0;
        last = now;
        same < pictures ? requestAnimationFrame(look) : done(true);
      };
      look();
    });
  }

  return { page, charts, still };
})();
