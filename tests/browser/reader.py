"""What a person does with a page, and sees of it."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import NoAlertPresentException, StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.conformance.world import wait_for

WIDTHS = (1280, 390)
"""Of a laptop's window, and of a phone."""
_DRAWN = (
    "return document.documentElement.dataset.drawn === 'true' && document.querySelector('.plot .main-svg') !== null"
)


class Browser:
    """One tab."""

    def __init__(self, driver: webdriver.Chrome, pictures: Path | None) -> None:
        self.driver = driver
        self._pictures = pictures
        self.resize(WIDTHS[0])

    def resize(self, width: int, height: int = 900) -> None:
        """Make the window so large; a narrow one is a phone's."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def open(self, url: str) -> None:
        """Go there, from an empty tab: an address that differs behind the # alone would load nothing."""
        self.driver.get("about:blank")
        self.driver.get(url)

    def wait_until_drawn(self) -> None:
        """Until the curves are there."""
        wait_for(lambda: self.ask(_DRAWN), "the curves are drawn")

    def ask(self, script: str, *arguments: Any) -> Any:
        """The value of a script."""
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> list[WebElement]:
        """All elements."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """Of the first such element; empty if there is none, or it has just been replaced."""
        try:
            return next((element.text for element in self.find(selector)), "")
        except StaleElementReferenceException:
            return ""

    def click(self, selector: str) -> None:
        """Click the first one once it is there, and stays long enough."""

        def click() -> bool:
            try:
                (element, *_) = self.find(selector)
                self.ask("arguments[0].scrollIntoView({block: 'center'})", element)
                element.click()
            except (ValueError, StaleElementReferenceException):
                return False
            return True

        wait_for(click, f"{selector} can be clicked")

    def confirm(self) -> str:
        """Say yes to the question that is asked; the question."""
        alert = self.driver.switch_to.alert
        question = str(alert.text)
        alert.accept()
        return question

    def drag(self, element: WebElement, distance: int) -> None:
        """Drag over an element, from its middle to the right."""
        self.ask("arguments[0].scrollIntoView({block: 'center'})", element)
        ActionChains(self.driver).click_and_hold(element).move_by_offset(distance, 0).release().perform()

    def curve(self, title: str) -> list[float]:
        """Places of the points of a chart's first curve."""
        script = """
          const cards = [...document.querySelectorAll(".charts .card")];
          const card = cards.find((found) => found.querySelector("h4").textContent === arguments[0]);
          const plot = card && card.querySelector(".plot");
          return plot && plot.data ? [...plot.data[0].x] : [];
        """
        return list(self.ask(script, title))

    def complaints(self) -> list[str]:
        """What the console has said since it was last asked, but for servers that are away."""
        return [entry["message"] for entry in self._console() if "ERR_CONNECTION_REFUSED" not in entry["message"]]

    def has_alert(self) -> bool:
        """Whether some script has opened one."""
        try:
            self.driver.switch_to.alert.dismiss()
        except NoAlertPresentException:
            return False
        return True

    def picture(self, name: str) -> None:
        """Keep a picture of what is in sight, if the documentation's are asked for."""
        if self._pictures is None:
            return
        self._pictures.mkdir(parents=True, exist_ok=True)
        seen = Image.open(BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")
        small = seen.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        small.save(self._pictures / f"{name}.png", optimize=True)

    def leave(self) -> None:
        """Forget everything, and say nothing more."""
        self.driver.get("about:blank")
        self._console()

    def _console(self) -> list[dict[str, Any]]:
        driver: Any = self.driver  # without types there
        return list(driver.get_log("browser"))
