"""How jets are judged: classes by accuracy and rejection, masses by their response, boosted trees beside networks."""
