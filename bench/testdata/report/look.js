// What is wrong with a report, as far as a browser can tell: run in the page by the test.
(() => {
	const problems = [];
	const say = (what, where) => problems.length < 40 && problems.push(what + ": " + where);
	for (const d of document.querySelectorAll("details")) d.open = true;
	const root = document.documentElement;
	const width = root.clientWidth; // innerWidth grows with what sticks out on a phone
	if (root.scrollWidth > width) {
		say("wider than the screen", root.scrollWidth + " of " + width);
		for (const e of document.querySelectorAll("body *"))
			if (e.getBoundingClientRect().right > width + 1 && !e.closest(".wide, pre")) { say("sticks out", e.outerHTML.slice(0, 100)); break; }
	}

	// sRGB contrast as WCAG 2 defines it.
	const channels = (c) => c.match(/[\d.]+/g).slice(0, 3).map(Number);
	const luminance = (c) => {
		const [r, g, b] = channels(c).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const contrast = (a, b) => {
		const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
		return (x + 0.05) / (y + 0.05);
	};
	const style = (e) => getComputedStyle(e);

	const charts = document.querySelectorAll("svg.chart, svg.small");
	for (const svg of charts) {
		const title = svg.querySelector("title")?.textContent ?? "";
		const box = svg.getBoundingClientRect();
		const plot = svg.querySelector(".plot")?.getBoundingClientRect();
		if (!title) say("chart without a title", svg.outerHTML.slice(0, 100));
		if (box.width < 20 || box.height < 10 || !plot || plot.width < 20 || plot.height < 10) { say("not drawn", title); continue; }
		const slack = 6 * box.width / svg.viewBox.baseVal.width;
		const marks = [...svg.querySelectorAll(".mark")];
		if (!marks.length) say("no marks", title);
		for (const m of marks) {
			const b = m.getBoundingClientRect();
			if (b.width + b.height <= 0) say("a mark of no size", title + " " + m.outerHTML);
			if (b.left < plot.left - slack || b.right > plot.right + slack || b.top < plot.top - slack || b.bottom > plot.bottom + slack) { say("a mark outside the plot", title + " " + m.outerHTML); break; }
			const s = style(m);
			if (s.fill === "none" && s.stroke === "none") say("a mark of no colour", title + " " + m.outerHTML);
		}
		const texts = [...svg.querySelectorAll("text")].filter((e) => e.textContent);
		const boxes = texts.map((e) => e.getBoundingClientRect());
		texts.forEach((e, i) => {
			const a = boxes[i];
			if (a.left < box.left - 1 || a.right > box.right + 1 || a.top < box.top - 1 || a.bottom > box.bottom + 1) say("text cut off", title + ": " + e.textContent);
			for (let k = i + 1; k < texts.length; k++) {
				const b = boxes[k];
				const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left), high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
				if (wide > 1 && high > 3) say("texts overlap", title + ": " + e.textContent + " and " + texts[k].textContent);
			}
			const under = svg.classList.contains("flame") ? style(e.previousElementSibling).fill : style(svg.closest("figure")).backgroundColor;
			if (contrast(style(e).fill, under) < 4.5) say("text too faint", title + ": " + e.textContent + ", " + style(e).fill + " on " + under);
		});
		if (svg.classList.contains("chart")) {
			const figure = svg.closest("figure");
			if (!figure?.querySelector("figcaption")?.textContent) say("no caption", title);
			if (!svg.querySelector("desc")?.textContent) say("no description", title);
			if (!figure?.querySelector("details tbody tr")) say("no data as a table", title);
			const onPhone = width < 600, size = parseFloat(style(texts[0] ?? svg).fontSize) * box.width / svg.viewBox.baseVal.width;
			if (size < (onPhone && !svg.classList.contains("flame") ? 9 : 7)) say("text too small", title + ": " + size.toFixed(1) + " px");
		}
	}
	return { problems, charts: charts.length, background: style(document.body).backgroundColor };
})();
