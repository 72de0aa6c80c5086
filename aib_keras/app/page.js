// Runs in the browser when the page has been loaded.
() => {
  // Gradio gives these no names that a screen reader could read.
  const nameAll = () => {
    document.querySelectorAll(".examples .gallery-item").forEach((button, place) => {
      button.setAttribute("aria-label", `Example ${place + 1}`);
    });
    document.querySelectorAll("#pair img").forEach((image, place) => {
      image.alt = `The ${place ? "right" : "left"} map over the image`;
    });
  };
  new MutationObserver(nameAll).observe(document.body, {childList: true, subtree: true});
  nameAll();

  // Gradio takes files that are dropped, but not folders. Hidden files are left out.
  const filesIn = async (entry) => {
    if (entry.name.startsWith(".")) return [];
    if (entry.isFile) return [await new Promise((take, fail) => entry.file(take, fail))];
    const reader = entry.createReader();
    const found = [];
    for (;;) {
      // At most a hundred at a time, and none at the end.
      const some = await new Promise((take, fail) => reader.readEntries(take, fail));
      if (!some.length) break;
      found.push(...some);
    }
    return (await Promise.all(found.map(filesIn))).flat();
  };
  const byName = (one, other) => (one.name < other.name ? -1 : 1);
  const isVisible = (file) => !`/${file.webkitRelativePath || file.name}`.includes("/.");
  // One more than a sheet has, so that the page can say that there are more.
  const first = (files) => {
    const transfer = new DataTransfer();
    const chosen = files.filter(isVisible).sort(byName).slice(0, MOST_FILES + 1);
    chosen.forEach((file) => transfer.items.add(file));
    return transfer.files;
  };
  const button = '[data-testid="FOLDER-upload-button"]';
  document.addEventListener("change", (event) => {
    // Gradio would upload all of them.
    if (event.target.matches(`${button}, #files input`)) {
      event.target.files = first([...event.target.files]);
    }
  }, true);
  document.addEventListener("drop", async (event) => {
    if (!event.target.closest("#files")) return;
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry());
    if (!entries.some((entry) => entry?.isDirectory) && entries.length <= MOST_FILES) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const files = (await Promise.all(entries.filter(Boolean).map(filesIn))).flat();
    const input = document.querySelector(button);
    input.files = first(files);
    input.dispatchEvent(new Event("change", {bubbles: true}));
  }, true);
}
