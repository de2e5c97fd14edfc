import Commands

Treering.start()
